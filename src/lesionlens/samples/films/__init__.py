"""Whole films as samples: which image is which film, its class, its breast, its lesions."""
