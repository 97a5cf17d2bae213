"""An index to samples: selection, splits, windows, cutting, normalisation."""
