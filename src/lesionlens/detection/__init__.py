"""Detection: where on a film a lesion lies, and how often that is right."""
