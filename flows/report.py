"""One page that answers the study's question."""

from pathlib import Path

from prefect import flow

from tasks.report import render_report


@flow(name="report", flow_run_name="report on study {study_id}")
def report(study_id: int) -> Path:
    """Render the study's report. Returns where it lies."""
    return render_report(study_id)
