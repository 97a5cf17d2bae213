"""Report: one read of the record, one self-contained page."""

from pathlib import Path

from prefect import get_run_logger

from db import read, write
from db.engine import make_engine
from db.lease import lease
from lesionlens.home import home
from lesionlens.identity import digest
from lesionlens.reporting.render import render
from tasks.artifacts import publish
from tasks.recorded import recorded


@recorded("render report", "report on study {study_id}")
def render_report(study_id: int) -> Path:
    """Render the study's page, keep it in the record and beside it; returns the file's path."""
    engine = make_engine()
    with lease(engine, f"report on study {study_id}"), engine.begin() as connection:
        study, evaluations = read.report_inputs(connection, study_id)
        identity = digest(study.digest, evaluations)
        path = home().ensure().reports / f"{study.name}-{study.digest[:8]}.html"
        known = read.find_report(connection, study_id, identity)
        if known is not None:
            get_run_logger().info("The report is in the record already: nothing to do")
            html = known
        else:
            html = render(read.report_data(connection, study_id)).encode()
            write.save_report(connection, study_id, identity, str(path), html)
    if not path.exists() or path.read_bytes() != html:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(html)
    return path


@recorded("publish results", "publish results of study {study_id}")
def publish_results(study_id: int) -> None:
    """Show answer, table and report in Prefect's UI."""
    with make_engine().connect() as connection:
        data = read.report_data(connection, study_id)
    publish(study_id, data)
