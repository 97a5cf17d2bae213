"""From files to patches: readers, windows, splits, normalisation."""
