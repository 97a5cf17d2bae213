"""Leases between workers, and connections that break in the middle."""

import threading
import time
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from db import tables
from db.copy import copy_rows
from db.lease import lease

WAITING = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted = :granted AND database ="
               " (SELECT oid FROM pg_database WHERE datname = current_database())")  # fmt: skip


def wait_for(engine: Engine, granted: bool, wanted: int) -> None:
    deadline = time.monotonic() + 10
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.scalar(WAITING, {"granted": granted}) != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_two_workers_take_turns(engine: Engine) -> None:
    order: list[str] = []

    def second() -> None:
        with lease(engine, "run 1"):
            order.append("second")

    with lease(engine, "run 1"):
        worker = threading.Thread(target=second)
        worker.start()
        wait_for(engine, granted=False, wanted=1)
        order.append("first")
    worker.join(10)
    assert order == ["first", "second"]
    wait_for(engine, granted=True, wanted=0)


def test_other_work_is_not_held_up(engine: Engine) -> None:
    with lease(engine, "run 1"), lease(engine, "run 2"):
        wait_for(engine, granted=True, wanted=2)


def test_a_failure_inside_gives_the_lease_back(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="inside"), lease(engine, "run 1"):
        raise RuntimeError("inside")
    wait_for(engine, granted=True, wanted=0)


def test_a_dead_connection_gives_the_lease_back(engine: Engine) -> None:
    kill = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    other = create_engine(engine.url)
    with lease(engine, "run 1"):
        with other.begin() as connection:
            connection.execute(kill)
        with lease(other, "run 1"):
            pass
    other.dispose()


def test_a_connection_lost_in_the_middle_of_a_copy_leaves_nothing(engine: Engine) -> None:
    killer = create_engine(engine.url)

    def rows(pid: int) -> Any:
        for n in range(5_000):
            if n == 2_000:
                with killer.begin() as connection:
                    connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            yield (f"digest {n}", "name", "kind", "x" * 1000)

    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        copy_rows(connection, tables.dataset, ("digest", "name", "kind", "root"), rows(int(pid or 0)))
    assert caught.value.connection_invalidated  # so the task is tried again
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM dataset")) == 0
        copy_rows(connection, tables.dataset, ("digest", "name", "kind", "root"), [("d", "n", "k", "r")])
    killer.dispose()
