"""The record's tables, by the step that fills them."""

from db.tables import data, evaluation, report, scores, training
from db.tables.columns import metadata

__all__ = ["data", "evaluation", "metadata", "report", "scores", "training"]
