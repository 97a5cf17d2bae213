"""Scores over samples with intervals clustered by patient."""
