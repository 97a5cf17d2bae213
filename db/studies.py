"""Studies and their runs: planned, trained epoch by epoch, and which work is still missing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Literal, cast

from sqlalchemy import Connection, delete, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.bulk import enter, finite, words
from db.tables.training import checkpoint, epoch, run, study, study_run
from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.records import Checkpoint, EpochResult

LISTED = 12
"""Studies that an error names."""


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
    """A study's identity, and what it works on."""

    id: int
    name: str
    digest: str
    evaluation_digest: str
    sample_set_id: int


def save_study(
    connection: Connection,
    digest: str,
    name: str,
    config: dict[str, Any],
    evaluation_digest: str,
    sample_set_id: int,
    versions: dict[str, str],
    kind: Literal["trained", "examined"] = "trained",
) -> int:
    """Enter a study; returns its id, the same for the same digest."""
    values = {
        "name": name, "kind": kind, "config": config, "evaluation_digest": evaluation_digest,
        "sample_set_id": sample_set_id, "versions": versions,
    }  # fmt: skip
    return enter(connection, study, {"digest": digest}, values)[0]


def save_run(
    connection: Connection,
    study_id: int,
    digest: str,
    sample_set_id: int,
    config: RunConfig,
    training: TrainingConfig,
    title: str,
) -> int:
    """Plan a run of a study, called `title` there; returns its id, the same for the same digest in every study."""
    values = {
        "sample_set_id": sample_set_id,
        **config.model_dump(mode="json"),
        "guidance": config.guidance.title,
        "normalise": training.normalise,
        "weights": training.weights,
        "config": {"run": config.model_dump(mode="json"), "training": training.model_dump(mode="json")},
    }
    run_id, _ = enter(connection, run, {"digest": digest}, values)
    _add_run(connection, study_id, run_id, title)
    return run_id


def _add_run(connection: Connection, study_id: int, run_id: int, title: str) -> None:
    member = upsert(study_run).values(study_id=study_id, run_id=run_id, title=title)
    connection.execute(member.on_conflict_do_nothing())


def save_examined(
    connection: Connection,
    digest: str,
    name: str,
    config: dict[str, Any],
    evaluation_digest: str,
    sample_set_id: int,
    versions: dict[str, str],
    device: str,
) -> tuple[int, int]:
    """Enter a model that was not trained here: a study of kind 'examined' and its one run; ids of both, the same for
    the same digest.

    config: as StudyConfig's JSON form without training and grid, and `examined`, whose name, normalisation and digest
    of the weights are the run's.
    """
    study_id = save_study(connection, digest, name, config, evaluation_digest, sample_set_id, versions, kind="examined")
    given = config["examined"]
    row = {
        "sample_set_id": sample_set_id, "system": "classifier", "backbone": given["name"], "strategy": "examined",
        "guidance": "none", "seed": 0,
        "normalise": given["normalise"], "weights": given["weights"], "config": {"examined": given},
        "status": "finished", "device": device, "started_at": func.now(), "finished_at": func.now(),
    }  # fmt: skip
    run_id = enter(connection, run, {"digest": digest}, row)[0]
    _add_run(connection, study_id, run_id, given["name"])
    return study_id, run_id


def plan_evaluations(connection: Connection, study_id: int, digest: str) -> None:
    """Set which evaluations belong to a study. ValueError for an unknown one."""
    if connection.execute(update(study).where(study.c.id == study_id).values(evaluation_digest=digest)).rowcount != 1:
        raise ValueError(f"the record holds no study {study_id}")


def start_run(connection: Connection, run_id: int, device: str) -> None:
    """Training begins or is resumed."""
    values = {"status": "running", "device": device, "started_at": func.now(), "finished_at": None, "reason": None}
    _update_run(connection, run_id, values)


def finish_run(connection: Connection, run_id: int, kept: Checkpoint | None = None) -> None:
    """Training is complete. kept: the one checkpoint that stays, in place of all that are entered."""
    _update_run(connection, run_id, {"status": "finished", "finished_at": func.now(), "reason": None})
    if kept is not None:
        connection.execute(delete(checkpoint).where(checkpoint.c.run_id == run_id))
        connection.execute(checkpoint.insert().values(run_id=run_id, **asdict(kept)))


def fail_run(connection: Connection, run_id: int, reason: str) -> None:
    """Training failed for the given reason."""
    _update_run(connection, run_id, {"status": "failed", "finished_at": func.now(), "reason": words(reason)})


def forget_training(connection: Connection, run_id: int) -> None:
    """A finished run whose checkpoint is lost is to be trained again."""
    _update_run(connection, run_id, {"status": "pending", "finished_at": None, "reason": None})


def _update_run(connection: Connection, run_id: int, values: dict[str, Any]) -> None:
    if connection.execute(update(run).where(run.c.id == run_id).values(values)).rowcount != 1:
        raise ValueError(f"the record holds no run {run_id}")


def save_epoch(connection: Connection, run_id: int, result: EpochResult) -> None:
    """Enter an epoch and the checkpoints that are on disk after it.

    An epoch trained again replaces what the record held of it and of all later ones, which belong to a
    course that was given up. Raises ValueError where a number is not finite.
    """
    connection.execute(delete(epoch).where(epoch.c.run_id == run_id, epoch.c.epoch >= result.epoch))
    values: dict[str, Any] = {
        name: finite(f"epoch.{name}", getattr(result, name))
        for name in ("train_loss", "validation_loss", "validation_accuracy", "validation_froc", "seconds")
        if getattr(result, name) is not None
    }
    rates = {name: finite(f"epoch.rates.{name}", rate) for name, rate in result.rates.items()}
    connection.execute(
        epoch.insert().values(
            run_id=run_id, epoch=result.epoch, phase=result.phase, rates=rates, improved=result.improved, **values
        )
    )
    for found in result.checkpoints:
        row = {"phase": found.phase, "epoch": found.epoch, "path": found.path}
        row |= {"sha256": found.sha256, "bytes": found.bytes}
        statement = upsert(checkpoint).values(run_id=run_id, role=found.role, **row)
        connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "role"], set_=row))


def run_row(connection: Connection, run_id: int) -> RunRow:
    """A run. ValueError for an unknown id."""
    columns = run.c.digest, run.c.sample_set_id, run.c.status, run.c.config
    found = connection.execute(select(*columns).where(run.c.id == run_id)).one_or_none()
    if found is None:
        raise ValueError(f"the record holds no run {run_id}")
    if "run" not in found.config:
        raise ValueError(f"run {run_id} was examined, not trained here: give its model to `examine` again")
    config = RunConfig.model_validate(found.config["run"])
    training = TrainingConfig.model_validate(found.config["training"])
    return RunRow(run_id, found.digest, found.sample_set_id, found.status, config, training)


def outcome(connection: Connection, run_id: int, since: datetime) -> Literal["finished", "failed"] | None:
    """How a run ended: finished whenever, or failed after `since`; None if it is to be trained."""
    failed = (run.c.status == "failed") & (run.c.finished_at > since)
    ended = select(run.c.status).where(run.c.id == run_id, (run.c.status == "finished") | failed)
    return cast(Literal["finished", "failed"] | None, connection.scalar(ended))


def checkpoints(connection: Connection, run_id: int) -> tuple[Checkpoint, ...]:
    """Checkpoints of a run, best before last; empty before its first epoch."""
    columns = (checkpoint.c[name] for name in ("role", "phase", "epoch", "path", "sha256", "bytes"))
    rows = connection.execute(select(*columns).where(checkpoint.c.run_id == run_id).order_by(checkpoint.c.role))
    return tuple(Checkpoint(**row._mapping) for row in rows)


def study_row(connection: Connection, study_id: int) -> StudyRow:
    """A study's identity. ValueError for an unknown id."""
    found = _study(connection, study_id, "name", "digest", "evaluation_digest", "sample_set_id")
    return StudyRow(study_id, *found)


def study_config(connection: Connection, study_id: int) -> dict[str, Any]:
    """A study's configuration as entered. ValueError for an unknown id."""
    config: dict[str, Any] = _study(connection, study_id, "config")[0]
    return config


def _study(connection: Connection, study_id: int, *columns: str) -> tuple[Any, ...]:
    found = connection.execute(select(*(study.c[name] for name in columns)).where(study.c.id == study_id))
    row = found.one_or_none()
    if row is None:
        raise ValueError(f"the record holds no study {study_id}")
    return tuple(row)


def find_study(connection: Connection, name: str) -> int:
    """Id of a study by its number or its name. ValueError where there is none, or several have the name."""
    found = list(connection.scalars(select(study.c.id).where(study.c.name == name).order_by(study.c.id)))
    if not found and name.isdecimal() and connection.scalar(select(exists().where(study.c.id == int(name)))):
        found = [int(name)]
    if len(found) == 1:
        return int(found[0])
    if found:
        raise ValueError(f"several studies are called {name!r}: name one by its number, {', '.join(map(str, found))}")
    rows = connection.execute(select(study.c.id, study.c.name).order_by(study.c.id)).all()
    near = get_close_matches(name, [row.name for row in rows], 1, 0.7)
    held = ", ".join(f"{row.id} ({row.name})" for row in rows[:LISTED]) or "none"
    more = f" and {len(rows) - LISTED} more (lesionlens list)" if len(rows) > LISTED else ""
    asked = f": did you mean {near[0]!r}? It" if near else "; it"
    raise ValueError(f"the record holds no study {name!r}{asked} holds {held}{more}")


def studies_of_runs(connection: Connection, runs: Sequence[int]) -> list[int]:
    """The newest study that holds and has evaluated each run, every one once. ValueError for a run without one."""
    newest = text("SELECT max(study_id) FROM study_evaluations WHERE run_id = :run")
    found = {number: connection.scalar(newest, {"run": number}) for number in runs}
    missing = [str(number) for number, study_id in found.items() if study_id is None]
    if missing:
        raise ValueError(f"the record holds no evaluation of run {', '.join(missing)}: TABLE runs lists all")
    return sorted({int(study_id) for study_id in found.values() if study_id is not None})
