"""Reading what comparisons and reports show."""

from typing import LiteralString

import polars as pl
from sqlalchemy import Connection, select

from db import tables
from db.frames import frame
from db.read_runs import StudyRow, study_row
from db.report_frames import report_data

OF_STUDY: LiteralString = "FROM study_evaluations AS e "
STUDY: LiteralString = "e.study_id = %(study_id)s"
SAMPLES: LiteralString = (
    "SELECT s.evaluation_id, s.sample_id, s.patient, l.is_lesion, s.correct, s.iou"
    f" {OF_STUDY} JOIN sample_results AS s ON s.evaluation_id = e.evaluation_id"
    " JOIN sample AS p ON p.id = s.sample_id JOIN label AS l ON l.id = p.label_id"
    f" WHERE {STUDY} ORDER BY s.evaluation_id, s.sample_id"
)
SELECTED: LiteralString = (
    f"SELECT e.evaluation_id {OF_STUDY} JOIN selected_runs AS c ON c.study_id = e.study_id AND c.run_id = e.run_id"
    f" WHERE {STUDY} ORDER BY e.evaluation_id"
)


def comparison_samples(connection: Connection, study_id: int) -> tuple[pl.DataFrame, list[int]]:
    """What comparisons need of a study's evaluations.

    First: evaluation_id, sample_id, patient, is_lesion, correct, iou; second: the evaluations of selected runs.
    """
    selected: list[int] = frame(connection, SELECTED, study_id=study_id)["evaluation_id"].to_list()
    return frame(connection, SAMPLES, study_id=study_id), selected


def report_inputs(connection: Connection, study_id: int) -> tuple[StudyRow, list[str]]:
    """The study, and what its report depends on: evaluations, unfinished and failed runs with their reasons."""
    study = study_row(connection, study_id)
    found = report_data(connection, study_id, ("runs",)).frames["runs"]
    inputs = [
        f"{row['digest']} evaluation {row['evaluation_id']} {row['status']} {row['reason'] or ''}"
        for row in found.iter_rows(named=True)
    ]
    return study, inputs


def find_report(connection: Connection, study_id: int, digest: str) -> bytes | None:
    """A page as rendered before, or None."""
    report = tables.report
    return connection.scalar(select(report.c.html).where(report.c.study_id == study_id, report.c.digest == digest))


def newest_report(connection: Connection, study_id: int) -> bytes | None:
    """The page last rendered for a study, or None."""
    report = tables.report
    return connection.scalar(
        select(report.c.html).where(report.c.study_id == study_id).order_by(report.c.created_at.desc()).limit(1)
    )


def comparison_page(connection: Connection, number: int) -> bytes | None:
    """A comparison as rendered, or None."""
    page = tables.comparison_page
    return connection.scalar(select(page.c.html).where(page.c.id == number))
