"""Everything that reads the record."""

from db.read_evaluations import (
    common_samples,
    evaluation_frame,
    has_shortcuts,
    is_compared,
    patch_attributes,
    study_patch_set,
)
from db.read_patches import find_patch_set, load_patches, patch_set_digest
from db.read_report import comparison_page, comparison_samples, find_report, newest_report, report_inputs
from db.read_runs import (
    RunRow,
    StudyRow,
    checkpoints,
    epochs,
    failed_runs,
    find_evaluation,
    find_study,
    outcome,
    run_row,
    runs_to_evaluate,
    runs_to_train,
    studies_of_runs,
    study_config,
    study_progress,
    study_row,
)
from db.report_frames import report_data

__all__ = [
    "RunRow",
    "StudyRow",
    "checkpoints",
    "common_samples",
    "comparison_page",
    "comparison_samples",
    "epochs",
    "evaluation_frame",
    "failed_runs",
    "find_evaluation",
    "find_patch_set",
    "find_report",
    "find_study",
    "has_shortcuts",
    "is_compared",
    "load_patches",
    "newest_report",
    "outcome",
    "patch_attributes",
    "patch_set_digest",
    "report_data",
    "report_inputs",
    "run_row",
    "runs_to_evaluate",
    "runs_to_train",
    "studies_of_runs",
    "study_config",
    "study_patch_set",
    "study_progress",
    "study_row",
]
