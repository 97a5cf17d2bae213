"""Run a pipeline step (train or evaluate) for all runs of a study that still lack it.

Several processes and machines may run the same step of the same study at once: each run is locked by whoever works
on it, so the work is done once.
"""

import logging
import multiprocessing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from db import evaluations, studies
from db.engine import make_engine
from db.locks import held
from db.queries import work
from lesionlens.config.study import evaluation_digest
from lesionlens.errors import TrainingError
from lesionlens.loggers import require
from lesionlens.models.weights import fetch_weights
from lesionlens.processes import end_with_parent, have_semaphores
from lesionlens.settings import settings
from tasks import evaluate, train
from tasks.db_task import is_transient, retried, study_config
from tasks.progress import progress
from tasks.train import Outcome

Run = tuple[int, str]
"""A run's id and a title such as `resnet50 gradual #3 seed 0`."""


@dataclass(frozen=True)
class Step:
    """A pipeline step of one study; a run that failed after `since` is not tried again."""

    name: Literal["train", "evaluate"]
    study_id: int
    since: datetime


def complete(name: Literal["train", "evaluate"], study_id: int) -> int:
    """Run the step for every run that lacks it; returns how many runs lacked it.

    Runs that another process works on (the same study started twice) are waited for at the end. ImageNet weights
    that this machine lacks raise WeightsMissingError once, before the first run.
    """
    step = Step(name, study_id, _record_time())
    runs = missing_runs(step)
    if not runs:
        get_run_logger().info("Nothing to %s in study %s: all of it is in the record", name, study_id)
        return 0
    if name == "train" and not settings().dask_scheduler:
        require(settings().loggers)
        _find_weights(study_id)
    left = runs
    while left and _work_on(step, left, wait=False):
        left = missing_runs(step)
    if left:
        _work_on(step, left, wait=True)
    return len(runs)


@retried
def _record_time() -> datetime:
    """The record's clock, the same for all machines."""
    with make_engine().connect() as connection:
        return connection.execute(select(func.now())).scalar_one()


@retried
def missing_runs(step: Step) -> list[Run]:
    """Runs that lack the step, but for those that failed since it began.

    ValueError where another version of lesionlens evaluates the study: its evaluations would not count.
    """
    config = study_config(step.study_id)
    with make_engine().connect() as connection:
        if step.name == "train":
            found = work.runs_to_train(connection, step.study_id, tried_since=step.since)
        else:
            if studies.study_row(connection, step.study_id).evaluation_digest != evaluation_digest(config):
                raise ValueError(
                    f"study {step.study_id} is evaluated by another version of lesionlens than the one on this "
                    "machine: install the same on all machines"
                )
            found = work.runs_to_evaluate(connection, step.study_id, tried_since=step.since)
    return found


@retried
def lost_runs(study_id: int) -> list[Run]:
    """Runs whose checkpoint the evaluation did not find, or found damaged: they are to be trained again."""
    with make_engine().connect() as connection:
        return work.pending_runs(connection, study_id)


@retried
def failed_runs(study_id: int) -> list[tuple[str, str]]:
    """(title, reason) of every run of the study whose training or evaluation failed."""
    with make_engine().connect() as connection:
        return work.failed_runs(connection, study_id)


def refuse_total_failure(study_id: int, where: str = "") -> int:
    """Name the runs that failed and return how many did; TrainingError where every run of the grid failed.

    where: what the error adds, where a person finds more.
    """
    failed, config = failed_runs(study_id), study_config(study_id)
    planned = len(config.grid.runs())
    for title, reason in failed:
        get_run_logger().warning("%s failed: %s", title, reason)
    if len(failed) == planned:
        raise TrainingError(f"No run of study {config.name} succeeded: {planned} of {planned} failed.{where}")
    return len(failed)


def _find_weights(study_id: int) -> None:
    config = study_config(study_id)
    if config.training.weights != "none" and config.training.start is None:
        fetch_weights(config.grid.backbones, config.training.weights)


def _work_on(step: Step, runs: list[Run], wait: bool) -> bool:
    """Run the step's task for these runs, at most `runs_per_device` at once; whether any of them was done here.

    Without `wait`, runs that another process works on when their turn comes are left to it. In one process random
    state is shared: runs side by side need processes of their own. A run that exceeds its time or whose files stay
    out of reach is recorded as failed; any other error is raised when the runs beside it are done.
    """
    wanted: Iterable[Run] = runs if wait else (run for run in runs if _is_free(step, run[0]))
    done: list[Outcome] = []
    with _runner(len(runs)) as runner, progress(f"{step.name} the grid", "runs", len(runs)) as advance:
        for run, state in _states(step, wanted, wait, runner):
            done.append(_outcome(step, state, *run))
            advance(len(done), len(runs))
    return any(outcome != "elsewhere" for outcome in done)


def _is_free(step: Step, run_id: int) -> bool:
    """Whether the run lacks the step and nobody works on it at this moment.

    True also while the record is out of reach: the task that follows asks again, and waits for it.
    """
    try:
        with make_engine().connect() as connection:
            if step.name == "train":
                known = studies.outcome(connection, run_id, step.since)
                return known is None and held(connection, [train.lock_name(run_id)]) == [False]
            digest = studies.study_row(connection, step.study_id).evaluation_digest
            known = evaluations.outcome(connection, run_id, digest, step.since)
            return known is None and held(connection, [evaluate.lock_name(run_id)]) == [False]
    except DBAPIError as error:
        if not is_transient(error):
            raise
        return True


def _states(
    step: Step, runs: Iterable[Run], wait: bool, runner: TaskRunner[Any] | None
) -> Iterator[tuple[Run, State[Outcome]]]:
    task: Any = train.train_run if step.name == "train" else evaluate.evaluate_run
    if not settings().dask_scheduler:  # Dask runs tasks in threads, which no timeout can interrupt
        task = task.with_options(timeout_seconds=settings().run_timeout)

    def parameters(run: Run) -> dict[str, Any]:
        own = {} if step.name == "train" else {"study_id": step.study_id}
        return own | {"since": step.since, "run_id": run[0], "title": run[1], "wait": wait}

    if runner is None:
        for run in runs:
            yield run, task(**parameters(run), return_state=True)
        return
    for run, future in [(run, runner.submit(task, parameters(run))) for run in runs]:
        future.wait()
        yield run, future.state


def _outcome(step: Step, state: State[Outcome], run_id: int, title: str) -> Outcome:
    if state.is_completed():
        return cast(Outcome, _result(state))
    error = _result(state)
    if isinstance(error, OSError) or state.name == "TimedOut":  # a timeout is an OSError, too
        reason = f"{state.message}. Look at this task's log, then run the study again"
        if step.name == "train":
            train.record_failure(run_id, title, reason)
        else:
            evaluate.record_failure(step.study_id, run_id, title, reason)
        return "failed"
    raise error if isinstance(error, BaseException) else RuntimeError(f"{title}: {state.message}")


def _result(state: State[Outcome]) -> object:
    """The result or the error. Without `_sync` it is a coroutine where an event loop runs in this thread."""
    return state.result(raise_on_failure=False, _sync=True)  # type: ignore[call-overload]


@contextmanager
def _runner(count: int) -> Iterator[TaskRunner[Any] | None]:
    """A Dask cluster if one is named, else processes of this machine; None for one run after another."""
    at_once = min(settings().runs_per_device, count)
    if scheduler := settings().dask_scheduler:
        with _dask(scheduler) as runner:
            yield runner
    elif at_once > 1 and have_semaphores(at_once):
        with _processes(at_once) as runner:
            yield runner
    else:
        yield None


def _dask(scheduler: str) -> TaskRunner[Any]:
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise ImportError(
            "LESIONLENS_DASK_SCHEDULER is set, but prefect-dask is not installed: pip install 'lesionlens[dask]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.WARNING)
    return DaskTaskRunner(address=scheduler)


@contextmanager
def _processes(count: int) -> Iterator[TaskRunner[Any]]:
    """Processes that end with this one: one left behind would keep its run, its slot and its memory."""
    with ProcessPoolTaskRunner(max_workers=count, initializer=end_with_parent) as runner:
        try:
            yield runner
        except BaseException as error:
            if not isinstance(error, Exception):  # interrupted: nobody waits for the runs under way
                for process in multiprocessing.active_children():
                    process.terminate()
            raise
