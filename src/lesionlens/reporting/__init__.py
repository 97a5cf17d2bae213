"""From the record to a page: figures and rendering."""
