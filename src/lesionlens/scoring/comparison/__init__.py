"""Differences: between models on the same samples, between sets of samples for the same model."""
