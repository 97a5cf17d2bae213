"""The work of a stage on a study's runs: what the record says is missing, by whoever is there."""

from datetime import datetime

from prefect import get_run_logger

from flows.runners import Arguments, each
from flows.shares import hand_out
from lesionlens.config import ExecutionConfig, StudyConfig
from tasks.evaluate import evaluate_run
from tasks.study import Runs, Stage, is_free, missing_runs, record_time
from tasks.train import train_run
from tasks.weights import find_weights


def complete(stage: Stage, study_id: int, config: StudyConfig, execution: ExecutionConfig) -> int:
    """Do all that the stage lacks, here or on other machines; returns how many runs it lacked.

    Runs that somebody else has in hand (the same study started twice) are waited for.
    """
    since = record_time()
    runs = missing_runs(stage, study_id, config, since)
    if not runs:
        get_run_logger().info("Nothing to %s in study %s: all of it is in the record", stage, study_id)
    elif execution.runner == "workers":
        hand_out(stage, study_id, config, execution, since)
    else:
        held = take_what_is_free(stage, study_id, config, execution, since, runs)
        if held:
            _work(stage, held, config, execution, since, wait=True)
    return len(runs)


def take_what_is_free(
    stage: Stage, study_id: int, config: StudyConfig, execution: ExecutionConfig, since: datetime, runs: Runs
) -> Runs:
    """Do what nobody else has in hand, until there is nothing left of it; returns what others have in hand.

    First weights that this machine lacks stop it here, once, and not in every run of the grid.
    """
    if runs and stage == "train" and execution.runner == "local":
        find_weights(config)
    while runs and _work(stage, runs, config, execution, since, wait=False):
        runs = missing_runs(stage, study_id, config, since)
    return runs


def _work(
    stage: Stage,
    runs: Runs,
    config: StudyConfig,
    execution: ExecutionConfig,
    since: datetime,
    wait: bool,
) -> bool:
    """The stage's task on these runs; whether any of them was done here."""
    unit = train_run if stage == "train" else evaluate_run

    def arguments(run_id: int, title: str) -> dict[str, object]:
        common = {"run_id": run_id, "title": title, "execution": execution, "wait": wait}
        return common | ({"since": since} if stage == "train" else {"config": config})

    chosen: Arguments = arguments
    wanted = runs if wait else (run for run in runs if is_free(stage, run[0], config, since))
    return any(outcome != "elsewhere" for outcome in each(unit, wanted, len(runs), chosen, execution))
