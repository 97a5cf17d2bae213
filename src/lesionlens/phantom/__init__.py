"""Synthetic mammograms in CBIS-DDSM's layout."""
