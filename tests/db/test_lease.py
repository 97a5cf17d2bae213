"""Slots, and leases that are asked for without waiting, over several processes."""

import select
import subprocess
import sys
import threading
from typing import Any

import pytest
from sqlalchemy import Engine, text

from db.lease import LeaseLostError, free_lease, held, lease, slot

HOLDER = """
import sys, time
from sqlalchemy import create_engine
from db.lease import slot
with slot(create_engine(sys.argv[1]), "cpu", 1):
    print("mine", flush=True)
    time.sleep(600)
"""

SKEWED = """
import sys, time
url, run, offset, real, ticks = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), time.time, time.monotonic
time.time, time.monotonic = (lambda: real() + offset), (lambda: ticks() + offset)
from sqlalchemy import create_engine
from db import write
from db.lease import lease
engine = create_engine(url)
print("here", flush=True)
with lease(engine, "run 1"):
    with engine.begin() as connection:
        write.start_run(connection, run, "cpu")
    print("mine", flush=True)
    sys.stdin.readline()
    with engine.begin() as connection:
        write.finish_run(connection, run)
print("done", flush=True)
"""
WEEK = 7 * 86400


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


def test_who_lost_a_lease_learns_of_it(engine: Engine) -> None:
    kill = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    with pytest.raises(LeaseLostError, match="run 7"), lease(engine, "run 7") as mine:
        mine.check()
        with engine.begin() as connection:
            connection.execute(kill)
        mine.check()


def test_never_more_at_once_than_there_are_slots(engine: Engine) -> None:
    at_once: list[int] = []
    inside: set[int] = set()
    lock = threading.Lock()

    def work() -> None:
        with slot(engine, "cpu", 2) as number:
            with lock:
                assert number not in inside
                inside.add(number)
                at_once.append(len(inside))
            threading.Event().wait(0.05)
            with lock:
                inside.discard(number)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(at_once) == 6
    assert max(at_once) == 2


def test_a_killed_process_gives_its_slot_back(engine: Engine, database_url: str) -> None:
    holder: Any = subprocess.Popen([sys.executable, "-c", HOLDER, database_url], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "mine\n"
    holder.kill()
    holder.wait()
    with slot(engine, "cpu", 1) as number:
        assert number == 0


def test_machines_whose_clocks_disagree_take_turns(engine: Engine, filled: Any, database_url: str) -> None:
    """A week ahead and a week behind: leases have no time in them, and the record's times are the server's own."""

    def start(offset: int) -> Any:
        command = [sys.executable, "-c", SKEWED, database_url, str(filled.runs[0]), str(offset)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    ahead = start(WEEK)
    assert [ahead.stdout.readline() for _ in range(2)] == ["here\n", "mine\n"]
    behind = start(-WEEK)
    assert behind.stdout.readline() == "here\n"
    with engine.connect() as connection:
        assert held(connection, ["run 1"]) == [True]
    assert not select.select([behind.stdout], [], [], 1)[0], "it must wait"
    for process, rest in ((ahead, "done\n"), (behind, "mine\ndone\n")):
        assert process.communicate("\n", timeout=60)[0] == rest
    times = "SELECT now() - started_at < '2 min', finished_at BETWEEN started_at AND now() FROM run WHERE id = :run"
    with engine.connect() as connection:
        assert connection.execute(text(times), {"run": filled.runs[0]}).one() == (True, True)
