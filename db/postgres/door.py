"""A door to the embedded record for other programs: a TCP port of this machine, a password, reading only.

The server listens on a Unix socket that only its owner reaches. The door accepts connections on 127.0.0.1 and writes
a start message of its own for each, as the role `lesionlens_guest` and no other, and passes bytes on; the server then
asks that role for its password (SCRAM-SHA-256), whoever connects. The role sees the views, can change nothing, and is
gone when the door closes.
"""

import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import psycopg
from psycopg import sql

from db.postgres.programs import ServerError
from db.postgres.server import GUEST, SOCKET

HOST = "127.0.0.1"
DATABASE = "postgres"
VERSION, TLS, GSS = 196608, 80877103, 80877104  # protocol 3.0; requests for encryption, which are declined
LONGEST_START = 10_000
START_SECONDS = 20.0
TAKEN = ("client_encoding", "datestyle", "timezone", "extra_float_digits", "application_name", "intervalstyle")
"""What a client may say of itself at the start. Not its user, its database, or options of the server."""
MOST = 20


@dataclass(frozen=True)
class Door:
    """An open door: where, and with which password."""

    port: int
    password: str

    @property
    def url(self) -> str:
        """Address with the password in it."""
        return f"postgresql://{GUEST}:{self.password}@{HOST}:{self.port}/{DATABASE}"


@contextmanager
def opened(owner: str, folder: Path, port: int = 0) -> Iterator[Door]:
    """A door to the server of a URL `owner`, its socket in `folder`, for the time of the block.

    port: 0 for any that is free. ServerError where it is taken.
    """
    password = secrets.token_urlsafe(18)
    try:
        listener = _Listener((HOST, port), folder / SOCKET)
    except OSError as error:
        raise ServerError(f"port {port} is taken ({error.strerror}): choose another with --port") from None
    with listener, psycopg.connect(owner, autocommit=True) as connection:
        _require_guard(connection)
        _admit(connection, password)
        thread = threading.Thread(target=listener.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield Door(int(listener.server_address[1]), password)
        finally:
            listener.shutdown()
            thread.join()
            _expel(connection)


def _require_guard(connection: psycopg.Connection) -> None:
    """ServerError where the server would let the guest in without a password."""
    rules = "SELECT user_name, auth_method FROM pg_hba_file_rules ORDER BY line_number LIMIT 1"
    if connection.execute(rules).fetchone() != ([GUEST], "scram-sha-256"):
        raise ServerError(
            f"the record asks {GUEST} for no password, so no port is opened: its pg_hba.conf must begin with "
            f"`local all {GUEST} scram-sha-256`; mend it, then `lesionlens stop` and open again"
        )


def _admit(connection: psycopg.Connection, password: str) -> None:
    """Make the guest with this password; only a digest of it reaches the server."""
    _expel(connection)
    name = sql.Identifier(GUEST)
    verifier = connection.pgconn.encrypt_password(password.encode(), GUEST.encode(), b"scram-sha-256").decode()
    make = "CREATE ROLE {} LOGIN CONNECTION LIMIT {} PASSWORD {} IN ROLE lesionlens_reader"
    connection.execute(sql.SQL(make).format(name, sql.Literal(MOST), sql.Literal(verifier)))
    connection.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(name))


def _expel(connection: psycopg.Connection) -> None:
    """End the guest's sessions and remove the role, where there is one."""
    connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [GUEST])
    connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(GUEST)))


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], target: Path) -> None:
        self.target = str(target)
        super().__init__(address, _Visit)


class _Visit(BaseRequestHandler):
    """One connection: its start message is replaced, all that follows is passed on."""

    server: _Listener

    def handle(self) -> None:
        client: socket.socket = self.request
        client.settimeout(START_SECONDS)
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as record:
            said = _start_of(client)
            record.connect(self.server.target)
            record.sendall(_start(said))
            client.settimeout(None)
            back = threading.Thread(target=_pass_on, args=(record, client), daemon=True)
            back.start()
            _pass_on(client, record)
            back.join()


def _start_of(client: socket.socket) -> dict[str, str]:
    """What the client's start message says. ValueError, and nothing sent, for anything that is none."""
    while True:
        length, code = struct.unpack("!ii", _exactly(client, 8))
        if code in (TLS, GSS) and length == 8:
            client.sendall(b"N")
            continue
        if code != VERSION or not 8 < length <= LONGEST_START:
            raise ValueError("no start message")
        words = _exactly(client, length - 8).rstrip(b"\0").split(b"\0")
        return {k.decode().lower(): v.decode() for k, v in zip(words[::2], words[1::2], strict=False)}


def _start(said: dict[str, str]) -> bytes:
    given = {"user": GUEST, "database": DATABASE} | {name: said[name] for name in TAKEN if name in said}
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in given.items()) + b"\0"
    return struct.pack("!ii", len(body) + 8, VERSION) + body


def _exactly(client: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        block = client.recv(count - len(found))
        if not block:
            raise ValueError("ended early")
        found += block
    return found


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
