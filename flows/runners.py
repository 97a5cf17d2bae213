"""Many runs through one task: one after another, in several processes, or on a Dask cluster."""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from lesionlens.config import ExecutionConfig
from tasks.progress import stage
from tasks.study import Run
from tasks.train import Outcome, record_failure

Arguments = Callable[[int, str], dict[str, Any]]
"""What the task takes, from run id and title."""


def each(
    unit: Task[..., Outcome], runs: Iterable[Run], count: int, arguments: Arguments, execution: ExecutionConfig
) -> list[Outcome]:
    """The task on every run, in the order given; as many at once as the configuration says.

    `runs` is asked for the next one only when its turn comes; `count` is how many it may be. In one process,
    random state is shared: runs side by side need processes of their own.
    A run that hangs beyond its time or whose files stay out of reach is recorded as failed; any other error is
    raised when the runs beside it are done.
    """
    if execution.runner != "dask":  # its tasks run in threads, which no timeout can interrupt
        unit = unit.with_options(timeout_seconds=execution.timeout)
    outcomes: list[Outcome] = []
    with _runner(execution, count) as runner, stage(f"{unit.name} the grid", "runs", count) as advance:
        for run, state in _states(unit, runs, arguments, runner):
            outcomes.append(_outcome(state, *run))
            advance(len(outcomes), count)
    return outcomes


def _states(
    unit: Task[..., Outcome], runs: Iterable[Run], arguments: Arguments, runner: TaskRunner[Any] | None
) -> Iterator[tuple[Run, State[Outcome]]]:
    if runner is None:
        for run in runs:
            yield run, unit(**arguments(*run), return_state=True)  # type: ignore[misc]
        return
    for run, future in [(run, runner.submit(unit, arguments(*run))) for run in runs]:
        future.wait()
        yield run, future.state


@contextmanager
def _runner(execution: ExecutionConfig, count: int) -> Iterator[TaskRunner[Any] | None]:
    """What runs several tasks at once; None where one at a time is wanted."""
    if execution.runner == "dask":
        with _dask(execution) as runner:
            yield runner
    elif min(execution.runs_per_device, count) > 1:
        with _processes(min(execution.runs_per_device, count)) as runner:
            yield runner
    else:
        yield None


@contextmanager
def _processes(count: int) -> Iterator[TaskRunner[Any]]:
    """Processes that end with this one. One left behind would keep its run, its slot and its memory."""
    with ProcessPoolTaskRunner(max_workers=count, initializer=end_with_parent) as runner:
        try:
            yield runner
        except BaseException as error:
            if not isinstance(error, Exception):  # interrupted: nobody waits for the runs under way
                for process in multiprocessing.active_children():
                    process.terminate()
            raise


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, by whatever cause."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, name="end with parent", daemon=True).start()


def _dask(execution: ExecutionConfig) -> TaskRunner[Any]:
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise ImportError(
            "execution.runner is dask, but prefect-dask is not installed: pip install 'lesionlens[dask]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.WARNING)
    if execution.dask_scheduler:
        return DaskTaskRunner(address=execution.dask_scheduler)
    return DaskTaskRunner(cluster_kwargs={"n_workers": execution.runs_per_device, "threads_per_worker": 1})


def _outcome(state: State[Outcome], run_id: int, title: str) -> Outcome:
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False)
    if isinstance(error, OSError) or state.name == "TimedOut":  # a timeout is an OSError, too
        record_failure(run_id, title, f"{state.message}. Look at this task's log, then run the study again")
        return "failed"
    raise error if isinstance(error, BaseException) else RuntimeError(f"{title}: {state.message}")
