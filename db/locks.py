"""Leases and slots: who may work on what, across processes and machines.

Both are session-level advisory locks on a connection of their own. The server releases them when the
connection ends, so a killed worker holds nothing; where a whole machine vanished, the connection is
taken for dead after `KEEPALIVE` (a minute and a half).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

KEEPALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 6"
LOOK_SECONDS = 1.0

_WAIT = text("SELECT pg_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock_all()")
_TRY = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")

_HELD = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32 | objid::bigint) = hashtextextended(name, 0))"
    " FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS wanted (name, position) ORDER BY position"
)


class LeaseLostError(RuntimeError):
    """The connection that held a lease or a slot is gone, and somebody else may have it by now."""


class Lease:
    """A lease while it is held."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    def check(self) -> None:
        """LeaseLostError if the server has closed the connection. Ask before writing what only the holder may write."""
        try:
            self._connection.execute(text("SELECT 1"))
        except DBAPIError as error:
            raise LeaseLostError(
                f"the lease of {self._name} was lost with its database connection: the work is taken up again"
            ) from error


@contextmanager
def lease(engine: Engine, name: str) -> Iterator[Lease]:
    """Wait for the lease of that name and hold it for the block. Who waited should look whether the work is done."""
    with _session(engine) as connection:
        # the pool's pre-ping has just proved the connection; a wait has no end but the holder's
        connection.execute(_WAIT, {"name": f"lesionlens:{name}"})
        yield Lease(connection, name)


@contextmanager
def free_lease(engine: Engine, name: str) -> Iterator[Lease | None]:
    """The lease of that name for the block, or None at once where somebody else holds it."""
    with _session(engine) as connection:
        held = connection.scalar(_TRY, {"name": f"lesionlens:{name}"})
        yield Lease(connection, name) if held else None


def held(connection: Connection, names: Sequence[str]) -> list[bool]:
    """Which of these leases somebody holds."""
    found = connection.execute(_HELD, {"names": [f"lesionlens:{name}" for name in names]})
    return [bool(each) for each in found.scalars()]


@contextmanager
def slot(engine: Engine, name: str, count: int, wait: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Wait for one of the `count` slots of that name and hold it for the block; yields its number, from 0.

    `wait` is called about once a second while all are taken; it may raise to give up.

    Ask for a slot while holding the lease of the work, never the other way round: then nobody who has a slot waits.
    """
    with _session(engine) as connection:
        while True:
            for number in range(count):
                if connection.scalar(_TRY, {"name": f"lesionlens:slot {number} of {name}"}):
                    yield number
                    return
            wait()
            time.sleep(LOOK_SECONDS)


@contextmanager
def _session(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in KEEPALIVE.split("; "):
            connection.execute(text(statement))  # on a Unix socket they say nothing, and nothing is needed
        try:
            yield connection
        finally:
            if not connection.invalidated and not connection.closed:
                with suppress(DBAPIError):  # a server notices a closed connection only after a while
                    connection.execute(_UNLOCK)
                connection.invalidate()  # ends the session, and with it the locks, whatever state it is in
