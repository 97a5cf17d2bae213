"""Slots, and leases that are asked for without waiting, over several processes."""

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
