"""All tables of the record, in one place to import from."""

from db.data_tables import dataset, exclusion, image, label, lesion, normalisation, patch, patch_set, split_check
from db.evaluation_tables import (
    class_score,
    comparison,
    evaluation,
    explanation,
    localization,
    prediction,
    report,
    run_score,
)
from db.metadata import metadata
from db.training_tables import checkpoint, epoch, run, study, study_run

__all__ = [
    "checkpoint",
    "class_score",
    "comparison",
    "dataset",
    "epoch",
    "evaluation",
    "exclusion",
    "explanation",
    "image",
    "label",
    "lesion",
    "localization",
    "metadata",
    "normalisation",
    "patch",
    "patch_set",
    "prediction",
    "report",
    "run",
    "run_score",
    "split_check",
    "study",
    "study_run",
]
