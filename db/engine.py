"""Connections to the record. The only place that reads the database's address."""

import os
import re
import time
from functools import lru_cache
from typing import Any

import psycopg
from sqlalchemy import URL, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from db import schema
from db.postgres import server
from lesionlens.settings import home, settings

OLDEST = 150000
# a server says so while it recovers from a crash of its own, for example by a full disk; psycopg gives no code for it
RECOVERING = re.compile(r"the database system is (starting up|in recovery mode|not yet accepting connections)")


def is_named() -> bool:
    """Whether `LESIONLENS_DATABASE_URL` names a server; otherwise the record is embedded."""
    return settings().database_url is not None


def database_url() -> str:
    """`LESIONLENS_DATABASE_URL`, or the URL of the embedded server, which is started where it does not run.

    The URL may hold a password: pass it on, never print or store it. libpq's own variables (PGHOSTADDR, PGPORT,
    PGSERVICE, PGOPTIONS, ...) complete a named URL, as they do for psql. They never concern the embedded server, and
    libpq prefers some of them to what a URL says, so this process forgets them.
    """
    named = settings().database_url
    if named is None:
        for variable in [name for name in os.environ if name.startswith("PG")]:
            del os.environ[variable]
        return server.start(home().ensure().record)
    return parse(named.get_secret_value()).render_as_string(hide_password=False)


def parse(text: str) -> URL:
    """A PostgreSQL URL with psycopg as its driver; TLS options pass through. ValueError, without the text, else.

    A password among the options is put where SQLAlchemy hides it when it shows a URL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(
            "LESIONLENS_DATABASE_URL is not a URL: expected postgresql://user:password@host:port/database"
        ) from None  # the cause would show the password
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(f"LESIONLENS_DATABASE_URL names {url.get_backend_name()}: the record needs PostgreSQL")
    if "@" in (url.host or ""):  # an error would show the rest of the password as the server's name
        raise ValueError("LESIONLENS_DATABASE_URL: user or password holds an @, which is written %40 in a URL")
    password = url.query.get("password")
    if isinstance(password, str):
        url = url.difference_update_query(["password"]).set(password=password)
    return url.set(drivername="postgresql+psycopg")


def make_engine() -> Engine:
    """The process's engine, its record upgraded to what this code expects.

    Cheap to call again: the same engine comes back, and an embedded server that has died is started anew.
    Engines do not travel between processes; call this in each.
    """
    return _engine(database_url(), os.getpid())


@lru_cache(maxsize=8)
def _engine(url: str, process: int) -> Engine:
    engine = open_engine(url)
    schema.upgrade(engine)
    return engine


def open_engine(url: str) -> Engine:
    """An engine on a record as it is found. RecordError where the server or the database cannot hold a record."""
    # whatever variables, roles and databases say, text comes as Unicode and dates in the form that psycopg reads
    encoding = {"client_encoding": "utf8"}
    engine = create_engine(url, pool_pre_ping=True, pool_size=4, hide_parameters=True, connect_args=encoding)
    event.listen(engine, "do_connect", _connect)
    _check_server(engine)
    return engine


def _connect(dialect: Dialect, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Connect; wait for a server that is recovering, as long as for one that starts."""
    deadline = time.monotonic() + server.START_SECONDS
    while True:
        try:
            connection: Any = dialect.connect(*arguments, **options)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline or not RECOVERING.search(str(error)):
                raise
        else:
            connection.execute(f"SET datestyle = ISO; {schema.PATH}")
            connection.commit()
            return connection
        time.sleep(0.1)


def _check_server(engine: Engine) -> None:
    with engine.connect() as connection:
        found: Any = connection.connection.driver_connection.info  # type: ignore[union-attr]
    if found.server_version < OLDEST:
        major = found.server_version // 10000
        raise schema.RecordError(f"the record's server is PostgreSQL {major}: 15 or newer is needed")
    encoding = found.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise schema.RecordError(
            f"the record's database {found.dbname} is in {encoding}, which cannot hold every name: make one in UTF8 "
            "(CREATE DATABASE record ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0) and name it in "
            "LESIONLENS_DATABASE_URL"
        )
