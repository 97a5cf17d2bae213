"""Many runs through one task: one after another, in several processes, or on a Dask cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from lesionlens.config import ExecutionConfig
from tasks.progress import stage
from tasks.study import Runs
from tasks.train import Outcome, record_failure

Arguments = Callable[[int, str], dict[str, Any]]
"""What the task takes, from run id and title."""


def each(unit: Task[..., Outcome], runs: Runs, arguments: Arguments, execution: ExecutionConfig) -> list[Outcome]:
    """The task on every run, in the order given; as many at once as the configuration says.

    In one process, random state is shared: runs side by side need processes of their own.
    A run that hangs beyond its time or whose files stay out of reach is recorded as failed; any other error is
    raised when the rest of the runs is done.
    """
    limited = unit.with_options(timeout_seconds=execution.timeout)
    states: list[State[Outcome]] = []
    with _runner(execution, len(runs)) as runner, stage(f"{unit.name} the grid", "runs", len(runs)) as advance:
        futures = [] if runner is None else [runner.submit(limited, arguments(*run)) for run in runs]
        for number, run in enumerate(runs):
            if runner is None:
                states.append(limited(**arguments(*run), return_state=True))  # type: ignore[arg-type]
            else:
                futures[number].wait()
                states.append(futures[number].state)
            advance(len(states), len(runs))
    return [_outcome(state, *run) for state, run in zip(states, runs, strict=True)]


@contextmanager
def _runner(execution: ExecutionConfig, count: int) -> Iterator[TaskRunner[Any] | None]:
    """What runs several tasks at once; None where one at a time is wanted."""
    if execution.runner == "dask":
        with _dask(execution) as runner:
            yield runner
    elif min(execution.runs_per_device, count) > 1:
        with ProcessPoolTaskRunner(max_workers=min(execution.runs_per_device, count)) as runner:
            yield runner
    else:
        yield None


def _dask(execution: ExecutionConfig) -> TaskRunner[Any]:
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise ImportError(
            "execution.runner is dask, but prefect-dask is not installed: pip install 'lesionlens[dask]'"
        ) from error
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
