"""What is left to do of a study, and what failed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, select

from db.tables.evaluation import evaluation, evaluation_failure
from db.tables.training import run, study, study_run


def runs_to_train(connection: Connection, study_id: int, tried_since: datetime | None = None) -> list[tuple[int, str]]:
    """Runs of a study that are not finished, as (id, title), in the grid's order.

    Failed ones are among them, but for those that failed after `tried_since`: they are not tried again.
    """
    unfinished = run.c.status != "finished"
    if tried_since is not None:
        unfinished &= (run.c.status != "failed") | (run.c.finished_at < tried_since)
    return [(row.id, row.title) for row in _runs(connection, study_id, unfinished)]


def runs_to_evaluate(
    connection: Connection, study_id: int, tried_since: datetime | None = None
) -> list[tuple[int, str]]:
    """Finished runs of a study that lack the study's evaluation, as (id, title), in the grid's order.

    Those whose evaluation failed are among them, but for those where it failed after `tried_since`.
    """
    done = exists().where(evaluation.c.run_id == run.c.id, evaluation.c.digest == study.c.evaluation_digest)
    left = (run.c.status == "finished") & ~done
    if tried_since is not None:
        failed = (evaluation_failure.c.run_id == run.c.id) & (evaluation_failure.c.digest == study.c.evaluation_digest)
        left &= ~exists().where(failed, evaluation_failure.c.failed_at > tried_since)
    return [(row.id, row.title) for row in _runs(connection, study_id, left)]


def pending_runs(connection: Connection, study_id: int) -> list[tuple[int, str]]:
    """Runs of a study whose training has not begun, or was lost, as (id, title), in the grid's order."""
    return [(row.id, row.title) for row in _runs(connection, study_id, run.c.status == "pending")]


def failed_runs(connection: Connection, study_id: int) -> list[tuple[str, str]]:
    """Runs of a study whose training or evaluation failed, as (title, reason), in the grid's order."""
    reasons = {row.id: row.reason for row in _runs(connection, study_id, run.c.status == "failed")}
    failed = select(evaluation_failure.c.run_id, evaluation_failure.c.reason).join(
        study, (study.c.id == study_id) & (study.c.evaluation_digest == evaluation_failure.c.digest)
    )
    unevaluated = dict(runs_to_evaluate(connection, study_id))
    reasons |= {row.run_id: row.reason for row in connection.execute(failed) if row.run_id in unevaluated}
    return [(row.title, reasons[row.id]) for row in _runs(connection, study_id, run.c.id.in_(reasons))]


def _runs(connection: Connection, study_id: int, condition: Any) -> Sequence[Any]:
    found = (
        select(run.c.id, study_run.c.title, run.c.reason)
        .join(study_run, study_run.c.run_id == run.c.id)
        .join(study, study.c.id == study_run.c.study_id)
        .where(study.c.id == study_id, condition)
        .order_by(run.c.id)
    )
    return connection.execute(found).all()
