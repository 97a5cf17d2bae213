"""The model card of a study, for people and for programs."""
