"""Access to the record from tasks: one policy of retries, and what several tasks read."""

import errno
import logging
import time
from asyncio import CancelledError
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, OperationalError

from db import studies
from db.engine import make_engine
from db.locks import LeaseLostError
from db.queries import arrays
from lesionlens.config.study import StudyConfig
from lesionlens.records import SampleArrays

P = ParamSpec("P")
R = TypeVar("R")

DELAYS = (2.0, 10.0, 30.0, 60.0)
"""Seconds before each new attempt; a PostgreSQL server recovers from a crash within them."""
TRANSIENT_FILE_ERRORS = {
    errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ETIMEDOUT, errno.ECONNRESET,
    errno.ECONNABORTED, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EREMOTEIO,
}  # fmt: skip
"""Errors of a network file system that is out of reach. Missing files, missing rights and full disks are not."""
TRANSIENT_SQL_STATES = ("08", "57P", "40", "53300")
"""Connections, shutdowns and restarts, deadlocks, too many connections."""
TRANSIENT_REFUSALS = ("starting up", "shutting down", "recovery", "too many clients", "connection slots")


def db_task(name: str, run_name: str | None = None) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task without result cache that retries transient errors only.

    `run_name` may use the function's parameters; without it every run has the task's name. A timeout is raised as one
    whatever error of the cleaning up hides it: such an error is pickled on its way from a process, and forgets it.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def timely(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if timeout := timeout_behind(error):
                    raise timeout from None
                raise

        return Task(
            timely,
            name=name,
            task_run_name=run_name or name,
            cache_policy=NO_CACHE,
            retries=len(DELAYS),
            retry_delay_seconds=list(DELAYS),
            retry_condition_fn=_is_worth_a_retry,
        )

    return decorate


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """The function, called again after transient errors as a `db_task` is, without being a task of its own."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for delay in DELAYS:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if not is_transient(error):
                    raise
                logging.getLogger("prefect.lesionlens").warning("Next attempt in %g s: %s", delay, error)
            time.sleep(delay)
        return function(*args, **kwargs)

    return call


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed in a minute: a lost database connection, a network file system out of reach.

    False for what needs a person: a wrong configuration, a NaN loss, a missing file, a full disk.
    """
    if timeout_behind(error):
        return False
    if isinstance(error, LeaseLostError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _is_transient_refusal(error)
    return isinstance(error, OSError) and error.errno in TRANSIENT_FILE_ERRORS


def timeout_behind(error: BaseException) -> CancelledError | None:
    """What Prefect interrupted the work with when the time of its task was over, where that led to this error."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, CancelledError):
        found = found.__cause__ or found.__context__
    return found


def _is_transient_refusal(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(TRANSIENT_SQL_STATES)
    message = str(error.orig)
    refused = "FATAL:" in message and not any(words in message for words in TRANSIENT_REFUSALS)
    return isinstance(error, OperationalError) and not refused


def _is_worth_a_retry(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    # Without _sync it would be a coroutine wherever an event loop happens to run in this thread.
    error = state.result(raise_on_failure=False, _sync=True)  # type: ignore[call-overload]
    return isinstance(error, BaseException) and is_transient(error)


@retried
def study_config(study_id: int) -> StudyConfig:
    """The study's configuration. ValueError for an unknown id, or options that this version does not have."""
    with make_engine().connect() as connection:
        entered = studies.study_config(connection, study_id)
    if "examined" in entered:
        raise ValueError(f"study {study_id} examines a model that was not trained here: examine it again")
    try:
        return StudyConfig.model_validate(entered)
    except ValidationError as error:
        raise ValueError(
            f"study {study_id} was entered by another version of lesionlens, whose options differ ({error}): "
            "work on it with that version, or run a study with today's options; its samples and runs are used again "
            "where nothing of them changed"
        ) from error


@retried
def study_identity(study_id: int) -> str:
    """The study's digest. ValueError for an unknown id."""
    with make_engine().connect() as connection:
        return studies.study_row(connection, study_id).digest


@lru_cache(maxsize=1)
def samples_of(sample_set_id: int) -> SampleArrays:
    """All samples of a set as arrays. A finished set never changes, so the last one read stays in memory."""
    with make_engine().connect() as connection:
        return arrays.load_samples(connection, sample_set_id)
