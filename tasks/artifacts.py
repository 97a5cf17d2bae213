"""Bars in Prefect's UI that move while a study works."""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext, TaskRunContext

MOVE_SECONDS = 2.0
State = Callable[[], tuple[float | None, str]]
"""Per cent done (None while unknown) and a line that says it."""


@contextmanager
def moving(state: State) -> Iterator[None]:
    """A progress artifact of the current task or flow run for the time of the block; nothing outside of runs.

    A thread of its own talks to the server: one that is slow or gone never holds up the work.
    """
    ids = _current()
    if ids is None:
        yield
        return
    over = threading.Event()
    context = contextvars.copy_context()  # the server's address travels in it
    thread = threading.Thread(target=context.run, args=(_move, state, ids, over), name="progress artifact", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(MOVE_SECONDS)


def _current() -> dict[str, UUID | None] | None:
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is not None:
        return {"flow_run_id": task.task_run.flow_run_id, "task_run_id": task.task_run.id}
    if flow is not None and flow.flow_run is not None:
        return {"flow_run_id": flow.flow_run.id, "task_run_id": None}
    return None


def _move(state: State, ids: dict[str, UUID | None], over: threading.Event) -> None:
    artifact, shown, ending = None, None, False
    while not ending:
        ending = over.wait(MOVE_SECONDS)
        percent, line = state()
        if percent is None or (percent, line) == shown:
            continue
        with contextlib.suppress(Exception), get_client(sync_client=True) as client:
            if artifact is None:
                new: dict[str, Any] = {"type": "progress", "data": percent, "description": line}
                artifact = client.create_artifact(ArtifactCreate(**new, **ids)).id
            else:
                client.update_artifact(artifact, ArtifactUpdate(data=percent, description=line))
            shown = (percent, line)
