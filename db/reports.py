"""What a report shows of a study, and rendered pages."""

from collections.abc import Collection

import polars as pl
from psycopg import sql
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from db.bulk import copy_frame, driver, enter, frame
from db.queries.checklist import checklist, script
from db.queries.report import BASELINES, PICTURES, SHOWN, STUDY
from db.studies import study_row
from db.tables.report import answer, comparison_page, report
from lesionlens.identity import bytes_digest
from lesionlens.records import ReportData


def report_data(connection: Connection, study_id: int, only: Collection[str] = ()) -> ReportData:
    """What a report shows: the study's fields, and frames by name with the SQL that gave them.

    only: names of the frames to read; all where empty. ValueError for an unknown study.
    """
    study_row(connection, study_id)
    number, session = sql.Literal(study_id), driver(connection)
    texts = {"studies": sql.SQL(STUDY).format(study=number).as_string(session)}
    study = connection.exec_driver_sql(texts["studies"]).mappings().one()
    frames = {}
    for name, query in (SHOWN | PICTURES).items():
        if not only or name in only:
            text = sql.SQL(query).format(study=number, baselines=sql.SQL(BASELINES))
            frames[name] = frame(connection, text)
            texts[name] = text.as_string(session)
    if not only or "checklist" in only:
        frames["checklist"] = checklist(connection, study_id)
        texts["checklist"] = script(frames["checklist"])
    return ReportData(dict(study), frames, texts)


def save_answers(connection: Connection, study_id: int, found: pl.DataFrame) -> None:
    """Replace a study's answers: columns of table `answer` without id and study_id."""
    connection.execute(delete(answer).where(answer.c.study_id == study_id))
    copy_frame(connection, answer, found.with_columns(study_id=pl.lit(study_id, dtype=pl.Int64)))


def save_report(connection: Connection, study_id: int, path: str, html: bytes) -> int:
    """Keep a study's page as its newest; returns its id, the same for the same page."""
    key = {"study_id": study_id, "digest": bytes_digest([html])}
    values = {"path": path, "created_at": func.clock_timestamp()}
    row = upsert(report).values(**key, html=html, **values)
    newest = row.on_conflict_do_update(index_elements=list(key), set_=values)
    return int(connection.execute(newest.returning(report.c.id)).scalar_one())


def newest_report(connection: Connection, study_id: int) -> bytes | None:
    """The page last rendered for a study, or None."""
    pages = select(report.c.html).where(report.c.study_id == study_id)
    return connection.scalar(pages.order_by(report.c.created_at.desc()).limit(1))


def save_comparison(connection: Connection, path: str, html: bytes) -> int:
    """Keep a comparison's page; returns its id, the same for the same page."""
    key = {"digest": bytes_digest([html])}
    return enter(connection, comparison_page, key, {"path": path, "html": html})[0]


def find_comparison(connection: Connection, number: int) -> bytes | None:
    """A comparison as rendered, or None."""
    return connection.scalar(select(comparison_page.c.html).where(comparison_page.c.id == number))
