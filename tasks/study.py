"""What the record says about a study: its configuration and what is missing."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from db import read
from db.engine import make_engine
from lesionlens.config import StudyConfig


@task(name="read study", cache_policy=NO_CACHE)
def study_config(study_id: int) -> StudyConfig:
    """The configuration as entered. ValueError for an id that the record does not hold."""
    with make_engine().connect() as connection:
        return StudyConfig.model_validate(read.study_config(connection, study_id))


@task(name="list runs to train", cache_policy=NO_CACHE)
def unfinished_runs(study_id: int) -> list[tuple[int, str]]:
    """(run id, title) of every run of the study that is not finished, failed ones included."""
    with make_engine().connect() as connection:
        return read.runs_to_train(connection, study_id)


@task(name="list runs to evaluate", cache_policy=NO_CACHE)
def unevaluated_runs(study_id: int) -> list[tuple[int, str]]:
    """(run id, title) of every finished run that lacks the study's evaluation."""
    with make_engine().connect() as connection:
        return read.runs_to_evaluate(connection, study_id)
