"""The record's tables, by the step that fills them."""

from db.tables import data, evaluation, external, report, scores, training
from db.tables.columns import metadata

__all__ = ["data", "evaluation", "external", "metadata", "report", "scores", "training"]
