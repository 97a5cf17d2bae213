"""Everything that writes the record. One transaction per unit of work: the caller's. Writing twice changes nothing."""

from db.write_data import (
    SampleWriter,
    open_sample_set,
    save_dataset,
    save_run,
    save_sample_set,
    save_study,
)
from db.write_pages import save_comparison_page, save_report
from db.write_results import (
    fail_run,
    finish_run,
    plan_evaluations,
    save_comparisons,
    save_epoch,
    save_evaluation,
    save_shortcuts,
    save_study_scores,
    start_run,
)

__all__ = [
    "SampleWriter",
    "fail_run",
    "finish_run",
    "open_sample_set",
    "plan_evaluations",
    "save_comparison_page",
    "save_comparisons",
    "save_dataset",
    "save_epoch",
    "save_evaluation",
    "save_report",
    "save_run",
    "save_sample_set",
    "save_shortcuts",
    "save_study",
    "save_study_scores",
    "start_run",
]
