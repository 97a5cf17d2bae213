"""Progress and cancellation of long work: bars in a terminal, log lines elsewhere, an artifact in Prefect's UI."""

import logging
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from prefect import Flow, get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.states import Cancelled
from rich import progress as bars
from rich.console import Console
from rich.theme import Theme

LINE_SECONDS = 10.0
"""Seconds between two log lines about the same work."""
ASK_SECONDS = 2.0
"""Seconds between two updates of a progress artifact, and between two requests for the state of a flow run."""

Advance = Callable[[int, int | None], None]


class StoppedError(RuntimeError):
    """The flow run was cancelled; what is finished is kept."""


@contextmanager
def progress(title: str, unit: str, total: int | None = None, done: int = 0) -> Iterator[Advance]:
    """Show the progress of the work inside; yields `advance(done, total)`, which any thread may call.

    `done` counts what earlier attempts did. Contexts may be nested: their bars are drawn below one another.
    """
    console, terminal = _console(), _is_terminal()
    with console.use_theme(Theme()), _bars(console, disable=not terminal) as drawn:
        number = drawn.add_task(title, total=total, completed=done, unit=unit)
        task, over = drawn.tasks[0], threading.Event()
        context = copy_context()  # the run that logs and artifacts belong to travels in it
        follower = threading.Thread(target=context.run, args=(_follow, task, over, not terminal), daemon=True)
        follower.start()

        def advance(count: int, whole: int | None = None) -> None:
            drawn.update(number, completed=count, total=whole)

        ending = ""  # what had nothing to do says nothing
        try:
            yield advance
            if task.completed > done:
                ending = f"{title}: {task.completed - done:g} {unit} in {_clock(task.elapsed)}"
        except BaseException:
            ending = f"{title}: stopped at {_count(task)}"
            raise
        finally:
            over.set()
            follower.join(ASK_SECONDS)  # a server that does not answer must not hold up the work
            drawn.remove_task(number)
            if ending:
                _log(ending)


def _bars(console: Console, disable: bool) -> bars.Progress:
    return bars.Progress(
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=20),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[unit]}", markup=False),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=4,
        disable=disable,
    )


def _is_terminal() -> bool:
    """Whether bars can be drawn: not in the processes of runs side by side, whose bars would overwrite each other."""
    console = Console(stderr=True)
    alone = multiprocessing.parent_process() is None
    return alone and sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal


def _console() -> Console:
    """The console of Prefect's log handler, so that log lines appear above the bars and do not tear them."""
    consoles = (getattr(handler, "console", None) for handler in logging.getLogger().handlers)
    return next((found for found in consoles if isinstance(found, Console)), None) or Console(stderr=True)


def _follow(task: bars.Task, over: threading.Event, lines: bool) -> None:
    """Until the work is over: move its artifact, if a run is there to have one, and write a line now and then."""
    artifact: UUID | None = None
    in_run = TaskRunContext.get() is not None or FlowRunContext.get() is not None
    next_line, told = time.monotonic() + LINE_SECONDS, None
    while not over.is_set():
        over.wait(min(ASK_SECONDS, LINE_SECONDS))
        if lines and time.monotonic() >= next_line and not over.is_set():
            if task.completed != told:  # a line that says what the last one said says nothing
                _log(_line(task))
                told = task.completed
            next_line += LINE_SECONDS
        if in_run and task.total:
            with suppress(Exception):  # the server restarts or is out of reach
                artifact = _move(artifact, task)


def _move(artifact: UUID | None, task: bars.Task) -> UUID:
    if artifact is None:
        created = create_progress_artifact(task.percentage, description=_line(task))
        return cast(UUID, created)  # a coroutine only where an event loop runs
    update_progress_artifact(artifact, task.percentage, description=_line(task))
    return artifact


def _line(task: bars.Task) -> str:
    left = f", {_clock(task.time_remaining)} left" if task.time_remaining else ""
    return f"{task.description}: {_count(task)}{left}"


def _count(task: bars.Task) -> str:
    whole = "" if task.total is None else f"/{task.total:g}"
    return f"{task.completed:g}{whole} {task.fields['unit']}"


def _clock(seconds: float | None) -> timedelta:
    return timedelta(seconds=round(seconds or 0))


def run_logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The run's logger; outside of a run Python's own, of the name lesionlens."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("lesionlens")


def _log(line: str) -> None:
    """Into the run's log where it takes such lines, else to standard error."""
    with suppress(MissingContextError):
        log = get_run_logger()
        if log.isEnabledFor(logging.INFO):
            log.info(line)
            return
    print(line, file=sys.stderr, flush=True)


_asked = 0.0
"""When this process last asked for the state of its flow run: many short tasks must not crowd the server."""


def stop_if_cancelled() -> None:
    """StoppedError if the flow run of the current task was cancelled; asks the server at most every `ASK_SECONDS`.

    A worker ends the process of a cancelled flow run by itself. This reaches flows started in a terminal, and tasks
    on a Dask cluster. A server that does not answer changes nothing: the work itself needs none.
    """
    global _asked
    context = TaskRunContext.get()
    if context is None or context.task_run.flow_run_id is None or time.monotonic() - _asked < ASK_SECONDS:
        return
    _asked = time.monotonic()
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(context.task_run.flow_run_id).state
    except Exception:
        return
    if state is not None and (state.is_cancelling() or state.is_cancelled()):
        raise StoppedError("cancelled in the UI; what is finished is kept, running the study again goes on from here")


def confirm_cancellation(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hook for `on_cancellation`: a flow run that no worker ends becomes Cancelled and does not stay Cancelling."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Cancelled(message="Cancelled in the UI; what is finished is kept"))
