"""The door to the embedded record: open with the password alone, for reading alone, for as long as it is held."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from db import schema
from db.engine import open_engine
from db.postgres import server
from db.postgres.door import DATABASE, Door, opened
from db.postgres.programs import ServerError
from tests.conftest import plain
from tests.record.makers import fill


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a filled embedded record, as its owner reaches it."""
    folder = tmp_path_factory.mktemp("door") / "record"
    url = server.start(folder)
    engine = open_engine(url)
    schema.upgrade(engine)
    with engine.begin() as connection:
        fill(connection)
    engine.dispose()
    yield plain(url)
    server.stop(folder)


def folder_of(owner: str) -> Path:
    return Path(str(make_url(owner).query["host"]))


@pytest.fixture
def door(owner: str) -> Iterator[Door]:
    with opened(owner, folder_of(owner)) as found:
        yield found


def roles(owner: str) -> list[str]:
    with psycopg.connect(owner) as connection:
        return [
            name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'lesionlens_g%'")
        ]


def test_views_are_read_and_nothing_else(door: Door) -> None:
    with psycopg.connect(door.url, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM sample_results").fetchone() == (True,)
        assert connection.execute("SELECT current_user, session_user").fetchone() == ("lesionlens_guest",) * 2
        for attempt in ("SELECT * FROM sample", "DELETE FROM study", "CREATE TABLE mine (n int)",
                        "COPY (SELECT 1) TO PROGRAM 'id'", "SET ROLE postgres"):  # fmt: skip
            for writing in ("off", "on"):
                connection.execute(f"SET default_transaction_read_only = {writing}")
                with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
                    connection.execute(attempt)


@pytest.mark.parametrize("change", ["no password", "another", "owner", "owner with it"])
def test_without_the_password_nobody_gets_in(door: Door, change: str) -> None:
    """Also not as the owner, whom the server would let in by the kernel's word for who holds the socket."""
    user = {"owner": "postgres:x", "owner with it": f"postgres:{door.password}"}.get(change, "lesionlens_guest:x")
    user = "lesionlens_guest" if change == "no password" else user
    url = f"postgresql://{user}@127.0.0.1:{door.port}/{DATABASE}"
    if change == "owner with it":  # the name is not what opens: it is the guest who comes in
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("lesionlens_guest",)
        return
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n",
        struct.pack("!ii", 16, 80877102) + bytes(8),  # a request to cancel
        struct.pack("!ii", 2**31 - 1, 196608),
        struct.pack("!ii", 4, 196608),
        b"\0" * 64,
    ],
    ids=["web page", "cancel", "endless", "short", "zeros"],
)
def test_who_says_something_else_is_not_answered(door: Door, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", door.port), timeout=30) as connection:
        connection.sendall(said)
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""


def test_options_of_the_server_do_not_pass(door: Door) -> None:
    with psycopg.connect(door.url, options="-c default_transaction_read_only=off", application_name="R") as connection:
        assert connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
        assert connection.execute("SHOW application_name").fetchone() == ("R",)


def test_it_closes_behind_its_holder(owner: str) -> None:
    with opened(owner, folder_of(owner)) as door:
        assert roles(owner) == ["lesionlens_guest"]
        held = psycopg.connect(door.url)
        with pytest.raises(ServerError, match="is taken"), opened(owner, folder_of(owner), door.port):
            pass
        assert held.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        held.execute("SELECT 1")
    assert roles(owner) == []
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(door.url)
    with opened(owner, folder_of(owner)) as again:  # as after a holder that was killed: a new password
        assert again.password != door.password


def test_only_this_machine_reaches_the_port(door: Door) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    addresses = [line.split()[1] for line in listening if line.split()[1].endswith(f":{door.port:04X}")]
    assert addresses and all(address.startswith("0100007F") for address in addresses)


def test_a_server_that_would_ask_for_no_password_gets_no_port(owner: str) -> None:
    """As a record made by another program, or a guard that somebody removed."""
    with psycopg.connect(owner) as connection:
        (place,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    guards = (folder_of(owner) if place.startswith("/proc") else Path(data)) / "pg_hba.conf"
    whole = guards.read_text()
    assert whole.startswith("local all lesionlens_guest scram-sha-256\n")
    try:
        guards.write_text(whole.partition("\n")[2])
        with pytest.raises(ServerError, match="no port is opened"), opened(owner, folder_of(owner)):
            pass
    finally:
        guards.write_text(whole)
    assert roles(owner) == []
