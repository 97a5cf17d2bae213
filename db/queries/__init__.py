"""What pages and cards ask the record."""
