"""Cancelling from the UI: work asks between its steps whether it is still wanted.

A work pool's worker ends a cancelled flow's process by itself. This reaches the rest: flows started from a
terminal, and tasks that a Dask cluster runs elsewhere.
"""

import time

from prefect.client.orchestration import get_client
from prefect.context import TaskRunContext

ASK_SECONDS = 2.0


class StoppedError(RuntimeError):
    """Somebody cancelled the flow run; what is finished is kept."""


class Wanted:
    """Whether the flow run that the current task belongs to is still wanted; asks the server now and then."""

    def __init__(self) -> None:
        context = TaskRunContext.get()
        self._flow_run = context.task_run.flow_run_id if context is not None else None
        self._asked = time.monotonic()

    def check(self) -> None:
        """StoppedError if the flow run was cancelled. A server that does not answer changes nothing."""
        if self._flow_run is None or time.monotonic() - self._asked < ASK_SECONDS:
            return
        self._asked = time.monotonic()
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(self._flow_run).state
        except Exception:  # restarting, gone, unreachable: the work itself needs no server
            return
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            raise StoppedError(
                "cancelled in the UI; what is finished is kept, running the study again goes on from here"
            )
