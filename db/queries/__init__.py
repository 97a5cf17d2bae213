"""What pages, cards and steps ask the record."""
