"""Reading studies and runs: what is planned, done and missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

import polars as pl
from sqlalchemy import Connection, exists, func, select, text

from db import tables
from db.frames import frame
from lesionlens.config import RunConfig, TrainingConfig
from lesionlens.records import Checkpoint


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as planned, and how far it is."""

    id: int
    digest: str
    sample_set_id: int
    status: Literal["pending", "running", "finished", "failed"]
    config: RunConfig
    training: TrainingConfig


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study's identity."""

    id: int
    name: str
    digest: str
    evaluation_digest: str


def run_row(connection: Connection, run_id: int) -> RunRow:
    """A run. ValueError for an unknown id."""
    run = tables.run
    found = connection.execute(
        select(run.c.digest, run.c.sample_set_id, run.c.status, run.c.config).where(run.c.id == run_id)
    ).one_or_none()
    if found is None:
        raise ValueError(f"the record holds no run {run_id}")
    config = RunConfig.model_validate(found.config["run"])
    training = TrainingConfig.model_validate(found.config["training"])
    return RunRow(run_id, found.digest, found.sample_set_id, found.status, config, training)


def outcome(connection: Connection, run_id: int, since: datetime) -> Literal["finished", "failed"] | None:
    """How a run ended: finished whenever, or failed after `since`; None if it is to be trained."""
    run = tables.run
    found = connection.execute(
        select(run.c.status).where(
            run.c.id == run_id,
            (run.c.status == "finished") | ((run.c.status == "failed") & (run.c.finished_at > since)),
        )
    ).scalar_one_or_none()
    return cast(Literal["finished", "failed"] | None, found)


def epochs(connection: Connection, run_id: int) -> pl.DataFrame:
    """Finished epochs of a run, in order: the columns of table `epoch` without run_id."""
    return frame(
        connection,
        "SELECT epoch, phase, train_loss, validation_loss, validation_accuracy, seconds, rates, improved"
        " FROM epoch WHERE run_id = %(run_id)s ORDER BY epoch",
        run_id=run_id,
    )


def checkpoints(connection: Connection, run_id: int) -> tuple[Checkpoint, ...]:
    """Checkpoints of a run, best before last; empty before its first epoch."""
    found = tables.checkpoint
    rows = connection.execute(
        select(found.c.role, found.c.phase, found.c.epoch, found.c.path, found.c.sha256, found.c.bytes)
        .where(found.c.run_id == run_id)
        .order_by(found.c.role)
    )
    return tuple(Checkpoint(**row._mapping) for row in rows)


def find_evaluation(connection: Connection, run_id: int, digest: str) -> int | None:
    """Id of a run's evaluation with this digest, or None."""
    found = tables.evaluation
    return connection.scalar(select(found.c.id).where(found.c.run_id == run_id, found.c.digest == digest))


def study_row(connection: Connection, study_id: int) -> StudyRow:
    """A study's identity. ValueError for an unknown id."""
    study = tables.study
    columns = study.c.name, study.c.digest, study.c.evaluation_digest
    found = connection.execute(select(*columns).where(study.c.id == study_id)).one_or_none()
    if found is None:
        raise ValueError(f"the record holds no study {study_id}")
    return StudyRow(study_id, *found)


def find_study(connection: Connection, name: str) -> int:
    """Id of a study by its number or its name. ValueError where there is none, or several have the name."""
    study = tables.study
    found = list(connection.scalars(select(study.c.id).where(study.c.name == name).order_by(study.c.id)))
    if not found and name.isdecimal() and connection.scalar(select(exists().where(study.c.id == int(name)))):
        found = [int(name)]
    if len(found) == 1:
        return int(found[0])
    if found:
        raise ValueError(f"several studies are called {name!r}: name one by its number, {', '.join(map(str, found))}")
    known = [
        f"{row.id} ({row.name})" for row in connection.execute(select(study.c.id, study.c.name).order_by(study.c.id))
    ]
    raise ValueError(f"the record holds no study {name!r}; it holds {', '.join(known) or 'none'}")


def studies_of_runs(connection: Connection, runs: Sequence[int]) -> list[int]:
    """The newest study that holds and has evaluated each run, every one once. ValueError for a run without one."""
    held = text("SELECT max(study_id) FROM study_evaluations WHERE run_id = :run")
    found = {run: connection.scalar(held, {"run": run}) for run in runs}
    missing = [str(run) for run, study in found.items() if study is None]
    if missing:
        raise ValueError(f"the record holds no evaluation of run {', '.join(missing)}: TABLE runs lists all")
    return sorted({int(study) for study in found.values() if study is not None})


def study_config(connection: Connection, study_id: int) -> dict[str, Any]:
    """A study's configuration as entered. ValueError for an unknown id."""
    study_row(connection, study_id)
    config: dict[str, Any] = connection.execute(
        select(tables.study.c.config).where(tables.study.c.id == study_id)
    ).scalar_one()
    return config


def runs_to_train(
    connection: Connection, study_id: int, tried_since: datetime | None = None
) -> list[tuple[int, RunConfig]]:
    """Runs of a study that are not finished, in the grid's order.

    Failed ones are among them, but for those that failed after `tried_since`: they have had their chance.
    """
    run, study_run = tables.run, tables.study_run
    wanted = run.c.status != "finished"
    if tried_since is not None:
        wanted &= (run.c.status != "failed") | (run.c.finished_at < tried_since)
    found = connection.execute(
        select(run.c.id, run.c.config)
        .join(study_run, study_run.c.run_id == run.c.id)
        .where(study_run.c.study_id == study_id, wanted)
        .order_by(run.c.id)
    )
    return [(number, RunConfig.model_validate(config["run"])) for number, config in found]


def runs_to_evaluate(connection: Connection, study_id: int) -> list[tuple[int, RunConfig]]:
    """Finished runs of a study that lack the study's evaluation, in the grid's order."""
    run, study_run, study, evaluation = tables.run, tables.study_run, tables.study, tables.evaluation
    done = exists().where(evaluation.c.run_id == run.c.id, evaluation.c.digest == study.c.evaluation_digest)
    found = connection.execute(
        select(run.c.id, run.c.config)
        .join(study_run, study_run.c.run_id == run.c.id)
        .join(study, study.c.id == study_run.c.study_id)
        .where(study.c.id == study_id, run.c.status == "finished", ~done)
        .order_by(run.c.id)
    )
    return [(number, RunConfig.model_validate(config["run"])) for number, config in found]


def failed_runs(connection: Connection, study_id: int) -> list[tuple[RunConfig, str]]:
    """Failed runs of a study, each with its reason, in the grid's order."""
    run, study_run = tables.run, tables.study_run
    found = connection.execute(
        select(run.c.config, run.c.reason)
        .join(study_run, study_run.c.run_id == run.c.id)
        .where(study_run.c.study_id == study_id, run.c.status == "failed")
        .order_by(run.c.id)
    )
    return [(RunConfig.model_validate(config["run"]), reason) for config, reason in found]


def study_progress(connection: Connection, study_id: int) -> dict[str, int]:
    """How many of a study's runs are pending, running, finished, failed; and evaluated."""
    run, study_run = tables.run, tables.study_run
    counted = connection.execute(
        select(run.c.status, func.count())
        .join(study_run, study_run.c.run_id == run.c.id)
        .where(study_run.c.study_id == study_id)
        .group_by(run.c.status)
    )
    progress = dict.fromkeys(("pending", "running", "finished", "failed"), 0)
    progress.update({status: count for status, count in counted})
    progress["evaluated"] = progress["finished"] - len(runs_to_evaluate(connection, study_id))
    return progress
