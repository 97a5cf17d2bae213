"""All tables of the record, in one place to import from."""

from db.audit_tables import (
    erasure,
    iou_curve,
    quadrant,
    randomisation,
    reliability,
    shortcut_score,
    stratum_score,
    study_score,
)
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
    "erasure",
    "evaluation",
    "exclusion",
    "explanation",
    "image",
    "iou_curve",
    "label",
    "lesion",
    "localization",
    "metadata",
    "normalisation",
    "patch",
    "patch_set",
    "prediction",
    "quadrant",
    "randomisation",
    "reliability",
    "report",
    "run",
    "run_score",
    "shortcut_score",
    "split_check",
    "stratum_score",
    "study",
    "study_run",
    "study_score",
]
