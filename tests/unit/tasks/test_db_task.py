"""What is tried again, and what is not."""

import errno
from pathlib import Path

import psycopg
import pytest
from prefect.task_engine import TaskRunTimeoutError
from prefect.utilities.timeout import timeout
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from db.locks import LeaseLostError
from lesionlens.errors import CheckpointError, DivergedError, WeightsMissingError
from tasks.db_task import _is_worth_a_retry, db_task, is_transient
from tasks.train import train_run


def refused(said: str) -> OperationalError:
    return OperationalError("SELECT 1", {}, psycopg.OperationalError(said))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "read error"),
        OSError(errno.ESTALE, "stale file handle"),
        LeaseLostError("lost"),
        refused('connection to server at "10.0.0.1", port 5432 failed: Connection refused'),
        refused("FATAL:  the database system is starting up"),
        refused("FATAL:  sorry, too many clients already"),
    ],
)
def test_trouble_that_passes(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        DivergedError("training loss is nan in epoch 3"),
        WeightsMissingError("no weights"),
        CheckpointError("damaged"),
        ValueError("data.root is missing"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "not allowed"),
        OSError(errno.ENOSPC, "no space left"),
        TimeoutError("Task run exceeded timeout"),
        refused('FATAL:  password authentication failed for user "lesionlens"'),
        refused('FATAL:  database "lesionlens" does not exist'),
    ],
)
def test_trouble_that_only_a_person_can_mend(error: Exception) -> None:
    assert not is_transient(error)


def test_a_timeout_in_the_middle_of_a_query_leaves_its_process_as_a_timeout(database_url: str) -> None:
    """The driver's error hides it as it cleans up, and a pickled error has lost what it hid."""
    engine = create_engine(database_url)

    def copy() -> None:
        with engine.begin() as connection:
            query = "COPY (SELECT pg_sleep(0.5)) TO STDOUT"
            with connection.connection.cursor().copy(query):  # type: ignore[attr-defined]  # psycopg's
                pass

    with pytest.raises(OperationalError) as hidden, timeout(0.1, TaskRunTimeoutError):
        copy()
    assert not is_transient(hidden.value)
    with pytest.raises(TaskRunTimeoutError), timeout(0.1, TaskRunTimeoutError):
        db_task("copy")(copy).fn()
    engine.dispose()


def test_a_timeout_of_the_driver_is_none_of_the_task() -> None:
    @db_task("fail")
    def fail() -> None:
        raise refused("connection timeout expired") from TimeoutError()

    with pytest.raises(OperationalError):
        fail.fn()


def test_a_closed_connection_passes_and_a_wrong_statement_does_not(database_url: str) -> None:
    engine = create_engine(database_url)
    with pytest.raises(DBAPIError) as closed, engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert is_transient(closed.value)
    with pytest.raises(DBAPIError) as wrong, engine.connect() as connection:
        connection.execute(text("SELECT 1 / 0"))
    assert not is_transient(wrong.value)
    engine.dispose()


def test_a_task_waits_longer_each_time() -> None:
    @db_task("count")
    def count(number: int) -> int:
        return number

    delays = count.retry_delay_seconds
    assert isinstance(delays, list) and len(delays) == count.retries >= 3
    assert delays == sorted(delays) and delays[0] >= 1
    assert train_run.retry_condition_fn is _is_worth_a_retry


def test_prefect_asks_before_it_tries_again(tmp_path: Path) -> None:
    from prefect.states import exception_to_failed_state
    from prefect.utilities.asyncutils import run_coro_as_sync

    for error, again in ((OSError(errno.EIO, "read error"), True), (DivergedError("nan"), False)):
        state = run_coro_as_sync(exception_to_failed_state(error))
        assert state is not None
        assert _is_worth_a_retry(train_run, None, state) is again  # type: ignore[arg-type]


def test_it_asks_in_a_thread_with_a_running_loop_too() -> None:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from prefect.states import exception_to_failed_state

    async def ask() -> bool:
        return _is_worth_a_retry(train_run, None, await exception_to_failed_state(OSError(errno.EIO, "read error")))  # type: ignore[arg-type]

    # A thread of its own: a browser test leaves its event loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: asyncio.run(ask())).result() is True
