"""Leases: one worker at a time on one piece of work, across processes and machines."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text


@contextmanager
def lease(engine: Engine, name: str) -> Iterator[None]:
    """Wait for the lease of that name and hold it for the block.

    A session-level advisory lock on a connection of its own: the server releases it when the connection
    ends, so a killed worker holds nothing. Whoever waited should look whether the work is done by now.
    """
    key = {"name": f"lesionlens:{name}"}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # the pool's pre-ping has just proved the connection; a wait has no end but the holder's
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), key)
        try:
            yield
        finally:
            if not connection.invalidated and not connection.closed:
                connection.invalidate()  # ends the session, and with it the lock, whatever state it is in
