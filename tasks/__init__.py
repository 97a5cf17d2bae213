"""Units of work: load, compute, save."""
