"""The server dies or its disk is full in the middle of work: committed rows stay, the rest is done again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from db import schema
from db.bulk import copy_rows
from db.engine import make_engine
from db.postgres import server
from db.tables.data import dataset
from lesionlens.settings import home

COLUMNS = ("digest", "name", "kind", "root")
COUNT = text("SELECT count(*) FROM dataset")


def rows(count: int, size: int = 1000) -> Iterator[tuple[str, ...]]:
    return ((f"digest {n}", "name", "kind", os.urandom(size // 2).hex()) for n in range(count))


def write(engine: Engine, values: Iterator[tuple[str, ...]]) -> None:
    with engine.begin() as connection:
        copy_rows(connection, dataset, COLUMNS, values)


def kill(folder: Path) -> None:
    os.kill(int((folder / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while server.find(folder) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an embedded record of its own, as without a named server."""
    monkeypatch.delenv("LESIONLENS_DATABASE_URL", raising=False)
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "home"))
    folder = home().ensure().record
    yield folder
    server.stop(folder)


def test_a_server_that_was_stopped_or_killed_is_started_again_and_the_work_repeated(record: Path) -> None:
    engine = make_engine()
    write(engine, rows(1))  # leaves a pooled connection that the restart breaks
    server.stop(record)
    again = make_engine()
    assert again is engine
    with again.connect() as connection:
        assert connection.scalar(schema.STAMPED) == schema.stamp()
        assert connection.scalar(COUNT) == 1

    def breaking() -> Iterator[tuple[str, ...]]:
        for n, row in enumerate(rows(5_000)):
            if n == 2_000:
                kill(record)
            yield (f"second {n}", *row[1:])

    with pytest.raises(DBAPIError) as caught:
        write(engine, breaking())
    assert caught.value.connection_invalidated  # so the task is tried again
    again = make_engine()  # what a retried task does first
    with again.connect() as connection:
        assert connection.scalar(COUNT) == 1
    write(again, (("second " + row[0], *row[1:]) for row in rows(5_000)))
    with again.connect() as connection:
        assert connection.scalar(COUNT) == 5_001
    engine.dispose()


def test_a_full_disk_loses_nothing_committed_and_work_goes_on_with_room(
    small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small_disk(250_000_000)
    monkeypatch.delenv("LESIONLENS_DATABASE_URL", raising=False)
    monkeypatch.setenv("LESIONLENS_HOME", str(disk / "home"))
    folder = home().ensure().record
    engine = make_engine()
    try:
        write(engine, rows(1))
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 20_000_000))
        with pytest.raises((psycopg.Error, DBAPIError), match=r"No space left|closed|terminat|connection"):
            write(engine, ((f"second {n}", *row[1:]) for n, row in enumerate(rows(60_000))))
        ballast.unlink()
        again = make_engine()
        with again.connect() as connection:
            assert connection.scalar(COUNT) == 1
        write(again, (("second " + row[0], *row[1:]) for row in rows(5_000)))
        with again.connect() as connection:
            assert connection.scalar(COUNT) == 5_001
    finally:
        engine.dispose()
        server.stop(folder)
