"""Tasks that work on the record: never cached by Prefect, tried again only where trouble passes by itself."""

import errno
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from sqlalchemy.exc import DBAPIError, OperationalError

from db.locks import LeaseLostError

P = ParamSpec("P")
R = TypeVar("R")

DELAYS = (2.0, 10.0, 30.0, 60.0)
"""Seconds before each new try; a PostgreSQL server recovers from a crash within them."""
PASSING_FILE_ERRORS = {
    errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ETIMEDOUT, errno.ECONNRESET,
    errno.ECONNABORTED, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EREMOTEIO,
}  # fmt: skip
"""What a network file system says in a bad minute. Missing files, missing rights and full disks stay what they are."""
PASSING_SQL_STATES = ("08", "57P", "40", "53300")
"""Connections, shutdowns and restarts, deadlocks, too many connections."""
PASSING_REFUSALS = ("starting up", "shutting down", "recovery", "too many clients", "connection slots")


def recorded(name: str, run_name: str | None = None) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task of that name; `run_name` may use its parameters, else every run has the task's name."""

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        return Task(
            function,
            name=name,
            task_run_name=run_name or name,
            cache_policy=NO_CACHE,
            retries=len(DELAYS),
            retry_delay_seconds=list(DELAYS),
            retry_condition_fn=_try_again,
        )

    return decorate


def passing(error: BaseException) -> bool:
    """Whether the same work may succeed in a minute: a lost database connection, a network file system's bad minute.

    False for everything that only a person can mend: a wrong configuration, a NaN loss, a missing file, a full disk.
    """
    if isinstance(error, LeaseLostError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _passing_refusal(error)
    return isinstance(error, OSError) and error.errno in PASSING_FILE_ERRORS


def _passing_refusal(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(PASSING_SQL_STATES)
    said = str(error.orig)
    refused = "FATAL:" in said and not any(words in said for words in PASSING_REFUSALS)
    return isinstance(error, OperationalError) and not refused


def _try_again(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    # Without _sync it would be a coroutine wherever an event loop happens to run in this thread.
    error = state.result(raise_on_failure=False, _sync=True)  # type: ignore[call-overload]
    return isinstance(error, BaseException) and passing(error)
