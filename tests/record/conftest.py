"""The filled record of makers.py: built once per process; a test gets a transaction on it, or a copy of its own."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine

from db import schema
from db.engine import open_engine, parse
from tests.full_postgres import FullPostgres, programs
from tests.record.makers import Filled, fill

FILLED = "filled"


@pytest.fixture(scope="session")
def filled(postgres: str, new_database: Callable[..., str]) -> Filled:
    """Ids of the filled record; its database is a template that nobody stays connected to."""
    made = create_engine(new_database())
    with made.begin() as connection:
        found = fill(connection)
    made.dispose()
    with create_engine(postgres, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {made.url.database} RENAME TO {FILLED}")
    return found


def _transactions(url: str) -> Iterator[Callable[[], Connection]]:
    made = create_engine(url)
    yield made.connect
    made.dispose()


@pytest.fixture(scope="session")
def _filled_connections(filled: Filled, new_database: Callable[..., str]) -> Iterator[Callable[[], Connection]]:
    yield from _transactions(new_database(FILLED))


@pytest.fixture(scope="session")
def _empty_connections(new_database: Callable[..., str]) -> Iterator[Callable[[], Connection]]:
    yield from _transactions(new_database())


@pytest.fixture
def connection(_filled_connections: Callable[[], Connection]) -> Iterator[Connection]:
    """A connection to the filled record, in a transaction that is rolled back."""
    with _filled_connections() as made, made.begin() as transaction:
        yield made
        transaction.rollback()


@pytest.fixture
def empty(_empty_connections: Callable[[], Connection]) -> Iterator[Connection]:
    """A connection to an empty record, in a transaction that is rolled back."""
    with _empty_connections() as made, made.begin() as transaction:
        yield made
        transaction.rollback()


@pytest.fixture
def filled_url(filled: Filled, new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a filled record of the test's own, named in the environment."""
    url = new_database(FILLED)
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", url)
    return url


@pytest.fixture
def filled_engine(filled_url: str) -> Iterator[Engine]:
    """An engine on a filled record of the test's own."""
    made = create_engine(filled_url)
    yield made
    made.dispose()


@pytest.fixture(scope="session")
def full_postgres() -> Iterator[FullPostgres]:
    """A full PostgreSQL that asks for a password over TCP, its user a superuser; its database `record` is filled."""
    if programs() is None:
        pytest.skip("needs a full PostgreSQL: apt-get install postgresql")
    made = FullPostgres()
    engine = open_engine(parse(made.url("record")))
    schema.upgrade(engine)
    with engine.begin() as connection:
        fill(connection)
    engine.dispose()
    yield made
    made.stop()


@pytest.fixture
def full(full_postgres: FullPostgres, monkeypatch: pytest.MonkeyPatch) -> FullPostgres:
    """The full PostgreSQL, its filled record named in the environment."""
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", full_postgres.url("record"))
    return full_postgres
