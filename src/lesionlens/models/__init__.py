"""Backbones cut into blocks, and their first weights."""
