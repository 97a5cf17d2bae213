"""What the record says about a study: its configuration, what is missing, what is in hand."""

from datetime import datetime
from typing import Literal

from pydantic import ValidationError
from sqlalchemy import func, select

from db import read
from db.engine import make_engine
from db.lease import held
from lesionlens.config import StudyConfig
from tasks import evaluate, train
from tasks.recorded import recorded

Stage = Literal["train", "evaluate"]
Runs = list[tuple[int, str]]
"""Run ids with titles such as `resnet50 gradual #3 seed 0`."""


@recorded("read study", "read study {study_id}")
def study_config(study_id: int) -> StudyConfig:
    """The configuration as entered. ValueError for an unknown id, or one that this version cannot read."""
    with make_engine().connect() as connection:
        entered = read.study_config(connection, study_id)
    try:
        return StudyConfig.model_validate(entered)
    except ValidationError as error:
        raise ValueError(
            f"study {study_id} was entered by another version of lesionlens, whose options differ ({error}): "
            "work on it with that version, or run a study with today's options; its patches and runs are used again "
            "where nothing of them changed"
        ) from error


@recorded("ask the time")
def record_time() -> datetime:
    """The record's clock, the same for all machines."""
    with make_engine().connect() as connection:
        return connection.execute(select(func.now())).scalar_one()


@recorded("list missing runs", "list runs to {stage}")
def missing_runs(stage: Stage, study_id: int, config: StudyConfig, since: datetime) -> Runs:
    """Runs that the stage has still to do; those whose training failed after `since` are left alone."""
    with make_engine().connect() as connection:
        if stage == "train":
            found = read.runs_to_train(connection, study_id, tried_since=since)
        else:
            found = read.runs_to_evaluate(connection, study_id)
    return [(run_id, config.grid.title(run)) for run_id, run in found]


@recorded("look for comparisons")
def is_compared(study_id: int) -> bool:
    """Whether every evaluation of the study is in its comparisons."""
    with make_engine().connect() as connection:
        return read.is_compared(connection, study_id)


@recorded("list failed runs", "list failed runs of study {study_id}")
def failed_runs(study_id: int, config: StudyConfig) -> list[tuple[str, str]]:
    """(title, reason) of every failed run of the study."""
    with make_engine().connect() as connection:
        return [(config.grid.title(run), reason) for run, reason in read.failed_runs(connection, study_id)]


def free_runs(stage: Stage, runs: Runs) -> Runs:
    """Those of the runs that nobody works on at this moment."""
    name = train.work_name if stage == "train" else evaluate.work_name
    with make_engine().connect() as connection:
        taken = held(connection, [name(run_id) for run_id, _ in runs])
    return [run for run, elsewhere in zip(runs, taken, strict=True) if not elsewhere]
