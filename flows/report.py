"""One page that answers the study's question."""

from pathlib import Path

from prefect import flow

from tasks.publish import publish_results
from tasks.report import render_report


@flow(name="report", flow_run_name="report on study {study_id}")
def report(study_id: int) -> Path:
    """Render the study's report and show its answer in the UI. Returns where it lies."""
    page = render_report(study_id)
    publish_results(study_id)
    return page
