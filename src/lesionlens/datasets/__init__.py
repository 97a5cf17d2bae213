"""A folder on disk to a DatasetIndex."""
