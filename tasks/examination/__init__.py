"""Examination of what was trained elsewhere: a network, or its predictions and maps."""
