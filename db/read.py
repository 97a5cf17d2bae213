"""Everything that reads the record."""

from db.read_evaluations import (
    common_samples,
    evaluation_frame,
    has_shortcuts,
    is_compared,
    sample_attributes,
    study_sample_set,
)
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
from db.read_samples import find_sample_set, load_samples, sample_set_digest
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
    "find_report",
    "find_sample_set",
    "find_study",
    "has_shortcuts",
    "is_compared",
    "load_samples",
    "newest_report",
    "outcome",
    "report_data",
    "report_inputs",
    "run_row",
    "runs_to_evaluate",
    "runs_to_train",
    "sample_attributes",
    "sample_set_digest",
    "studies_of_runs",
    "study_config",
    "study_progress",
    "study_row",
    "study_sample_set",
]
