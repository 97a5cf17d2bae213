"""For all tests: one embedded PostgreSQL per process (of pytest-xdist, too), a database of its own for a test."""

import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
import torch
from sqlalchemy import Engine, create_engine, make_url

from db import schema
from db.postgres import server

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = "migrated"


def named(url: str, database: str) -> str:
    """The same server's URL for another database."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def plain(url: str) -> str:
    """A URL as psycopg and libpq read it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session", autouse=True)
def default_settings() -> Iterator[None]:
    """Not those of the shell; and images are cut in the process of the test, where it does not ask for more."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith("LESIONLENS_") and each != "LESIONLENS_CBIS"]:
            patch.delenv(name)
        patch.setenv("LESIONLENS_WORKERS", "1")
        patch.setenv("OMP_NUM_THREADS", "1")  # of processes that tests start; several of them share the cores
        yield


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Two processes of pytest-xdist with a thread for every core each would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_semaphores(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container without /dev/shm."""

    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", missing)


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real CBIS-DDSM files, csv/ and images/. They are no part of this project.

    Tests that need them are skipped without it; where CI is set they fail, so that CI never passes without them.
    """
    folder = Path(os.environ.get("LESIONLENS_CBIS", ROOT.parent / "shared/cbis"))
    if not (folder / "csv/mass_case_description_train_set.csv").is_file():
        message = f"no real case files in {folder}: set LESIONLENS_CBIS to the folder that holds csv/ and images/"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of this process's server; its database `migrated` is a template with the newest schema."""
    folder = tmp_path_factory.mktemp("server") / "record"
    url = server.start(folder)
    with psycopg.connect(plain(url), autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")  # nothing here outlives the session
        # copies of a database do not have its settings
        connection.execute("ALTER SYSTEM SET search_path = public, lens")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    engine = create_engine(named(url, TEMPLATE))
    schema.upgrade(engine)
    engine.dispose()
    yield url
    server.stop(folder)


@pytest.fixture(scope="session")
def new_database(postgres: str) -> Callable[..., str]:
    """Makes a database as a copy of another, by default of the migrated template; returns its URL."""
    numbers = count()

    def make(template: str = TEMPLATE) -> str:
        name = f"test_{next(numbers)}"
        with psycopg.connect(plain(postgres), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return named(postgres, name)

    return make


@pytest.fixture
def database_url(new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a fresh empty record, named in the environment as an operator would."""
    url = new_database()
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", url)
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh empty record."""
    made = create_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many bytes; only where one can be mounted (as root)."""
    mounted: list[Path] = []

    def make(size: int) -> Path:
        folder = tmp_path / f"disk {len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("a small file system cannot be mounted here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
