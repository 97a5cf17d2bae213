"""Classifiers: backbones cut into blocks, and their first weights."""
