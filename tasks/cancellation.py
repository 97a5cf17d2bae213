"""Cancelling from the UI: work asks between its steps whether it is still wanted.

A work pool's worker ends a cancelled flow's process by itself. This reaches the rest: flows started from a
terminal, and tasks that a Dask cluster runs elsewhere.
"""

import time
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import TaskRunContext
from prefect.states import Cancelled

ASK_SECONDS = 2.0


class StoppedError(RuntimeError):
    """Somebody cancelled the flow run; what is finished is kept."""


class Wanted:
    """Whether the flow run of the current task, and those above it, are still wanted; asks the server now and then."""

    _asked = 0.0  # of all tasks in this process: short ones one after another must not crowd the server

    def __init__(self) -> None:
        context = TaskRunContext.get()
        self._flow_run = context.task_run.flow_run_id if context is not None else None

    def check(self) -> None:
        """StoppedError if one of these flow runs was cancelled. A server that does not answer changes nothing."""
        if self._flow_run is None or time.monotonic() - Wanted._asked < ASK_SECONDS:
            return
        Wanted._asked = time.monotonic()
        try:
            with get_client(sync_client=True) as client:
                cancelled = _cancelled(client, self._flow_run)
        except Exception:  # restarting, gone, unreachable: the work itself needs no server
            return
        if cancelled:
            raise StoppedError(
                "cancelled in the UI; what is finished is kept, running the study again goes on from here"
            )


def _cancelled(client: SyncPrefectClient, number: UUID) -> bool:
    """Whether this flow run was cancelled, or the one that called it, and so on."""
    run = client.read_flow_run(number)
    if run.state is not None and (run.state.is_cancelling() or run.state.is_cancelled()):
        return True
    parent = None if run.parent_task_run_id is None else client.read_task_run(run.parent_task_run_id).flow_run_id
    return parent is not None and _cancelled(client, parent)


def confirm(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """For flows as `on_cancellation`: a cancelled run that no worker ends is Cancelled, not Cancelling for ever."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Cancelled(message="Cancelled in the UI; what is finished is kept"))
