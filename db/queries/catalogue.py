"""What the record holds: studies with size and answer, their runs, and what is lost with a study."""

from dataclasses import dataclass

import polars as pl
from psycopg import sql
from sqlalchemy import Connection, delete, select

from db.bulk import frame
from db.evaluations import is_compared
from db.queries.work import runs_to_evaluate, runs_to_train
from db.tables.data import dataset, sample_set
from db.tables.external import external_evaluation
from db.tables.report import report
from db.tables.training import checkpoint, run, study, study_run

STUDIES = """
SELECT study.id AS study_id, study.name AS study, dataset.name AS dataset, study.created_at,
    (SELECT count(*) FROM study_run WHERE study_id = study.id) AS runs,
    (SELECT count(*) FROM study_evaluations WHERE study_id = study.id) AS evaluated,
    (SELECT count(*) FROM runs WHERE runs.study_id = study.id
     AND (status = 'failed' OR evaluation_reason IS NOT NULL)) AS failed,
    (SELECT sum(bytes) FROM (SELECT DISTINCT run_id, path, bytes FROM checkpoint) AS file
     JOIN study_run USING (run_id) WHERE study_id = study.id) AS weight_bytes,
    (SELECT sum(octet_length(pixels) + coalesce(octet_length(mask), 0)) FROM sample
     WHERE sample.sample_set_id = study.sample_set_id) AS sample_bytes,
    (SELECT string_agg(question || ' ' || verdict, ', ' ORDER BY question) FROM answer
     WHERE study_id = study.id AND group_name IS NULL) AS verdict
FROM study JOIN sample_set ON sample_set.id = study.sample_set_id JOIN dataset ON dataset.id = sample_set.dataset_id
ORDER BY study.id"""

RUNS = """
SELECT runs.run_id, runs.study_id, runs.title, runs.status, runs.best_epoch, accuracy, low, high,
    (SELECT sum(bytes) FROM (SELECT DISTINCT run_id, path, bytes FROM checkpoint) AS file
     WHERE file.run_id = runs.run_id) AS weight_bytes
FROM runs LEFT JOIN table_2_accuracy USING (study_id, run_id) WHERE runs.study_id = {} ORDER BY runs.run_id"""


REPORTS = """
SELECT study.id AS study_id, study.name AS study, dataset.name AS dataset,
    (SELECT max(created_at) FROM report WHERE study_id = study.id) AS rendered_at,
    (SELECT string_agg(question || ' ' || verdict, ', ' ORDER BY question) FROM answer
     WHERE study_id = study.id AND group_name IS NULL) AS verdict,
    a.accuracy, a.low AS accuracy_low, a.high AS accuracy_high, l.ll, l.low AS ll_low, l.high AS ll_high
FROM study JOIN sample_set ON sample_set.id = study.sample_set_id JOIN dataset ON dataset.id = sample_set.dataset_id
LEFT JOIN LATERAL (SELECT min(run_id) AS run_id FROM answer WHERE study_id = study.id) AS best ON true
LEFT JOIN table_2_accuracy AS a ON a.study_id = study.id AND a.run_id = best.run_id
LEFT JOIN table_4_localization AS l ON l.study_id = study.id AND l.run_id = best.run_id AND l.headline
ORDER BY rendered_at DESC NULLS LAST, study.id DESC"""


@dataclass(frozen=True, slots=True)
class Freed:
    """What goes with a study: runs that no other study has, as (id, digest, bytes of weights); pages; what stays."""

    study_id: int
    name: str
    runs: tuple[tuple[int, str, int], ...]
    shared_runs: int
    sample_set: int | None
    dataset: int | None
    samples: int
    pages: tuple[str, ...]

    @property
    def weight_bytes(self) -> int:
        return sum(size for _, _, size in self.runs)


def studies(connection: Connection) -> pl.DataFrame:
    """One row per study: progress, bytes of weights and samples, answer."""
    return frame(connection, STUDIES)


def runs(connection: Connection, study_id: int) -> pl.DataFrame:
    """One row per run of a study: state, accuracy with interval, bytes of weights."""
    return frame(connection, sql.SQL(RUNS).format(sql.Literal(study_id)))


def finished(connection: Connection, digest: str, evaluation_digest: str) -> tuple[int, str] | None:
    """Number and newest page of the study of this digest, where nothing of it is left to do; else None."""
    known = select(study.c.id, study.c.evaluation_digest).where(study.c.digest == digest)
    row = connection.execute(known).one_or_none()
    if row is None or row.evaluation_digest != evaluation_digest:
        return None
    left = runs_to_train(connection, row.id) or runs_to_evaluate(connection, row.id)
    if left or not is_compared(connection, row.id):
        return None
    pages = select(report.c.path).where(report.c.study_id == row.id).order_by(report.c.created_at.desc()).limit(1)
    page = connection.scalar(pages)
    return None if page is None else (row.id, page)


def freed(connection: Connection, study_id: int) -> Freed:
    """What `remove` would delete. ValueError for an unknown study."""
    row = connection.execute(select(study.c.name, study.c.sample_set_id).where(study.c.id == study_id)).one_or_none()
    if row is None:
        raise ValueError(f"the record holds no study {study_id}")
    others = select(study_run.c.run_id).where(study_run.c.study_id != study_id)
    members = select(run.c.id, run.c.digest).join(study_run).where(study_run.c.study_id == study_id)
    own = connection.execute(members.where(run.c.id.not_in(others)).order_by(run.c.id)).all()
    every = connection.execute(members).all()
    sizes = dict.fromkeys((found.id for found in own), 0)
    files = select(checkpoint.c.run_id, checkpoint.c.path, checkpoint.c.bytes).distinct()
    for found in connection.execute(files):
        if found.run_id in sizes:
            sizes[found.run_id] += found.bytes
    alone = _is_alone(connection, study_id, row.sample_set_id, list(sizes))
    about = connection.execute(select(sample_set.c.dataset_id).where(sample_set.c.id == row.sample_set_id)).scalar_one()
    siblings = connection.scalar(
        select(sample_set.c.id).where(sample_set.c.dataset_id == about, sample_set.c.id != row.sample_set_id).limit(1)
    )
    counted = "SELECT count(*) FROM sample WHERE sample_set_id = {}"
    samples = frame(connection, sql.SQL(counted).format(sql.Literal(row.sample_set_id))).item()
    pages = "SELECT DISTINCT path FROM report WHERE study_id = {} ORDER BY path"
    return Freed(
        study_id, row.name, tuple((found.id, found.digest, sizes[found.id]) for found in own), len(every) - len(own),
        row.sample_set_id if alone else None, about if alone and siblings is None else None, samples if alone else 0,
        tuple(frame(connection, sql.SQL(pages).format(sql.Literal(study_id)))["path"]),
    )  # fmt: skip


def _is_alone(connection: Connection, study_id: int, sample_set_id: int, own_runs: list[int]) -> bool:
    """Whether nothing but this study, and runs of its own, uses the sample set."""
    used = (
        select(study.c.id).where(study.c.sample_set_id == sample_set_id, study.c.id != study_id),
        select(run.c.id).where(run.c.sample_set_id == sample_set_id, run.c.id.not_in(own_runs)),
        select(external_evaluation.c.evaluation_id).where(external_evaluation.c.sample_set_id == sample_set_id),
    )
    return all(connection.execute(query.limit(1)).first() is None for query in used)


def remove(connection: Connection, gone: Freed) -> None:
    """Delete a study, and the rows that `freed` found to be its alone; everything that refers to them goes, too."""
    connection.execute(delete(study).where(study.c.id == gone.study_id))
    connection.execute(delete(run).where(run.c.id.in_([number for number, _, _ in gone.runs])))
    if gone.sample_set is not None:
        connection.execute(delete(sample_set).where(sample_set.c.id == gone.sample_set))
    if gone.dataset is not None:
        connection.execute(delete(dataset).where(dataset.c.id == gone.dataset))


def reports(connection: Connection) -> pl.DataFrame:
    """One row per study, the newest report first: its date, the answer, and accuracy and LL of the model answered for.

    Columns study_id, study, dataset, rendered_at (null where no report was made), verdict, accuracy and ll, each with
    _low and _high.
    """
    return frame(connection, REPORTS)


def comparisons(connection: Connection) -> pl.DataFrame:
    """One row per comparison, the newest first: id, file (a path), created_at."""
    return frame(
        connection, "SELECT id, path AS file, created_at FROM comparison_page ORDER BY created_at DESC, id DESC"
    )
