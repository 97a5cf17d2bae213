"""Leases and slots between workers, over threads, connections and processes."""

import threading
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from db import studies
from db.locks import LeaseLostError, free_lease, held, lease, slot
from tests.record.makers import Filled

WAITING = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted = :granted AND database ="
               " (SELECT oid FROM pg_database WHERE datname = current_database())")  # fmt: skip
KILL = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())")  # fmt: skip

WEEK = 7 * 86400


@pytest.fixture
def other(engine: Engine) -> Iterator[Engine]:
    """A second worker's engine on the same record."""
    made = create_engine(engine.url)
    yield made
    made.dispose()


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


def test_a_failure_inside_gives_the_lease_back(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="inside"), lease(engine, "run 1"), lease(engine, "run 2"):
        wait_for(engine, granted=True, wanted=2)
        raise RuntimeError("inside")
    wait_for(engine, granted=True, wanted=0)


def test_a_dead_connection_gives_the_lease_back_and_its_holder_learns_of_it(engine: Engine, other: Engine) -> None:
    with pytest.raises(LeaseLostError, match="run 7"), lease(engine, "run 7") as mine:
        mine.check()
        with other.begin() as connection:
            connection.execute(KILL)
        with lease(other, "run 7"):
            pass
        mine.check()


def test_a_lease_in_other_hands_is_not_waited_for(engine: Engine) -> None:
    with lease(engine, "run 1"):
        with free_lease(engine, "run 1") as refused:
            assert refused is None
        with free_lease(engine, "run 2") as granted:
            assert granted is not None
            granted.check()
        with engine.connect() as connection:
            assert held(connection, ["run 1", "run 2", "run 3"]) == [True, False, False]
    with free_lease(engine, "run 1") as granted:
        assert granted is not None


def test_never_more_at_once_than_there_are_slots(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.locks.LOOK_SECONDS", 0.02)
    inside: set[int] = set()
    most, lock, full = [], threading.Lock(), threading.Barrier(2, timeout=10)

    def work() -> None:
        with slot(engine, "cpu", 2) as number:
            with lock:
                assert number not in inside
                inside.add(number)
                most.append(len(inside))
            full.wait()  # for the other slot to be taken
            with lock:
                inside.discard(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(most) == 4 and max(most) == 2


def machine(url: str, run: int, offset: int, pipe: Any) -> None:
    """A worker whose clocks are off by so many seconds; says where it is and waits for a word before it ends."""
    real, ticks = time.time, time.monotonic
    time.time, time.monotonic = (lambda: real() + offset), (lambda: ticks() + offset)
    engine = create_engine(url)
    with lease(engine, "run 1"), slot(engine, "cpu", 1):
        with engine.begin() as connection:
            studies.start_run(connection, run, "cpu")
        pipe.send("mine")
        pipe.recv()
        with engine.begin() as connection:
            studies.finish_run(connection, run)
    pipe.send("done")


def test_machines_whose_clocks_disagree_take_turns_and_a_killed_one_holds_nothing(
    filled_engine: Engine, filled: Filled
) -> None:
    """A week ahead and a week behind: leases have no time in them, and the record's times are the server's own."""
    url, forked = filled_engine.url.render_as_string(hide_password=False), get_context("fork")
    machines = {}
    for offset in (WEEK, -WEEK, 0):
        ours, theirs = forked.Pipe()
        machines[ours] = forked.Process(target=machine, args=(url, filled.runs[0], offset, theirs))
        machines[ours].start()
    while machines:
        (ours,) = wait(list(machines), 30)
        assert ours.recv() == "mine"  # type: ignore[union-attr]
        wait_for(filled_engine, granted=False, wanted=len(machines) - 1)
        process = machines.pop(ours)  # type: ignore[arg-type]
        if len(machines) == 2:
            process.kill()
        else:
            ours.send("end")  # type: ignore[union-attr]
            assert ours.recv() == "done"  # type: ignore[union-attr]
        process.join(30)
    times = "SELECT now() - started_at < '2 min', finished_at BETWEEN started_at AND now() FROM run WHERE id = :run"
    with filled_engine.connect() as connection:
        assert connection.execute(text(times), {"run": filled.runs[0]}).one() == (True, True)
