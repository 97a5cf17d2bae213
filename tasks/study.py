"""What the record says about a study: its configuration, what is missing, what is in hand."""

from datetime import datetime
from typing import Literal

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from db import evaluations, studies
from db.engine import make_engine
from db.locks import held
from lesionlens.config import StudyConfig
from lesionlens.evaluate import evaluation_digest
from tasks import evaluate, train
from tasks.recorded import passing, recorded

Stage = Literal["train", "evaluate"]
Run = tuple[int, str]
"""A run's id and a title such as `resnet50 gradual #3 seed 0`."""
Runs = list[Run]


@recorded("read study", "read study {study_id}")
def study_config(study_id: int) -> StudyConfig:
    """The configuration as entered. ValueError for an unknown id, or one that this version cannot read."""
    with make_engine().connect() as connection:
        entered = studies.study_config(connection, study_id)
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
    """Runs that the stage has still to do; those whose training failed after `since` are left alone.

    ValueError where the study is being evaluated by another version than this machine's: its evaluations would count
    for nothing.
    """
    with make_engine().connect() as connection:
        if stage == "train":
            found = studies.runs_to_train(connection, study_id, tried_since=since)
        else:
            if studies.study_row(connection, study_id).evaluation_digest != evaluation_digest(config):
                raise ValueError(
                    f"study {study_id} is evaluated by another version of lesionlens than the one on this machine: "
                    "install the same on all machines"
                )
            found = studies.runs_to_evaluate(connection, study_id)
    return found


@recorded("look for comparisons")
def is_compared(study_id: int) -> bool:
    """Whether every evaluation of the study is in its comparisons."""
    with make_engine().connect() as connection:
        return evaluations.is_compared(connection, study_id)


@recorded("list failed runs", "list failed runs of study {study_id}")
def failed_runs(study_id: int) -> list[tuple[str, str]]:
    """(title, reason) of every failed run of the study."""
    with make_engine().connect() as connection:
        return studies.failed_runs(connection, study_id)


def free_runs(stage: Stage, runs: Runs) -> Runs:
    """Those of the runs that nobody works on at this moment."""
    with make_engine().connect() as connection:
        taken = held(connection, [_work_name(stage, run_id) for run_id, _ in runs])
    return [run for run, elsewhere in zip(runs, taken, strict=True) if not elsewhere]


def is_free(stage: Stage, run_id: int, config: StudyConfig, since: datetime) -> bool:
    """Whether the stage has still to do this run and nobody works on it at this moment.

    True also while the record is out of reach: the task that follows asks again, and waits for it.
    """
    try:
        with make_engine().connect() as connection:
            if held(connection, [_work_name(stage, run_id)]) == [True]:
                return False
            if stage == "train":
                return studies.outcome(connection, run_id, since) is None
            return evaluations.find_evaluation(connection, run_id, evaluation_digest(config)) is None
    except DBAPIError as error:
        if not passing(error):
            raise
        return True


def _work_name(stage: Stage, run_id: int) -> str:
    return train.work_name(run_id) if stage == "train" else evaluate.work_name(run_id)
