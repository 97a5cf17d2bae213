"""PostgreSQL's client programs on the record: a prompt, backup, restore; and its upgrade by hand.

psql, pg_dump and pg_restore of the embedded record are the bundled ones; a named server is reached with the system's,
which speak TLS.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from alembic import command
from alembic.util import CommandError
from psycopg import pq
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import URL, create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from db import schema
from db.engine import database_url, is_named, make_engine, open_engine
from db.postgres import server
from db.postgres.programs import ServerError, bundled

FAULTS = (schema.RecordError, ServerError, DBAPIError, psycopg.Error)
"""The record cannot be reached, or is not as this code needs it."""

# pg_restore 18 writes it whatever the server; one older than 17 knows no such parameter
NEW_SETTING = b"SET transaction_timeout = 0;\n"
HEAD_LINES = 40


def error_message(error: BaseException) -> str:
    """An error in one line, without the statement that failed."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.Error):
        return f"the record cannot be reached or used: {' '.join(str(cause).split())}"
    return str(error)


def environment(url: URL, base: Mapping[str, str]) -> dict[str, str]:
    """libpq's variables for a URL: a password on a command line could be read by every user of the machine.

    They hold what the engine itself connects with, TLS options and several hosts included. ValueError for an option
    that has no variable.
    """
    variables = {found.keyword.decode(): found.envvar for found in pq.Conninfo.get_defaults()}
    _, given = url.get_dialect()().create_connect_args(url)
    values = {}
    for option, value in given.items():
        variable = variables.get(option)
        if variable is None:
            raise ValueError(f"LESIONLENS_DATABASE_URL: option {option!r} has no environment variable of libpq")
        values[variable.decode()] = str(value)
    return dict(base) | values


def psql(options: Sequence[str] = (), write: bool = False) -> None:
    """Become psql on the record, reading only unless `write`; SQL on standard input ends at an error.

    options: psql's own; SQL may stand before them. Reading only guards against slips; who has the rights to write can
    say so in SQL. A prompt shows wide rows as lists, floats with six digits, and reads the user's psqlrc.
    """
    with suppress(InsufficientPrivilege):  # a reader sees the record as its owner left it
        make_engine().dispose()  # started and upgraded
    program, variables = _client("psql")
    given = [variables.get("PGOPTIONS", ""), f"-c search_path=public,{schema.LENS}"]
    if not write:
        given.append("-c default_transaction_read_only=on")
    if sys.stdin.isatty() and sys.stdout.isatty():
        first = ["--pset=expanded=auto", "--pset=null=-"]
        given.append("-c extra_float_digits=-9")
    else:
        first = ["--no-psqlrc", "--set", "ON_ERROR_STOP=1"]
    variables["PGOPTIONS"] = " ".join(given).strip()
    sys.stdout.flush()
    if options and not options[0].startswith("-"):  # psql would take it for the name of a database
        first.append("--command")
    os.execve(program, [program, *first, *options], variables)


def backup(file: Path) -> None:
    """Write the whole record to a file in PostgreSQL's custom format; it appears only when it is complete."""
    make_engine().dispose()
    part = file.with_name(file.name + ".part")
    try:
        program, variables = _client("pg_dump")
        with _running([program, "--format=custom", "--no-owner", "--encoding=UTF8", f"--file={part}"], variables):
            pass
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def restore(file: Path) -> None:
    """Fill an empty database from a file, all or nothing, upgrade it and let the reader role see its views.

    ValueError where the database is not empty. Rights that were given to other roles are not in a restored record:
    the server may not know them.
    """
    if not file.is_file():
        raise ValueError(f"{file} is not a file")
    engine = open_engine(database_url())
    try:
        if inspect(engine).get_table_names():
            raise ValueError("the record is not empty: restore into a new LESIONLENS_HOME or a new database")
    finally:
        engine.dispose()
    _fill(file)
    with make_engine().begin() as connection:
        schema.let_read(connection)


def _fill(file: Path) -> None:
    """The file's tables and rows in one transaction."""
    program, variables = _client("psql")
    fill = [program, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    # it reads a file only, and the bundled one is the newest: older ones refuse what it wrote
    unpack = [str(bundled("pg_restore")), "--no-owner", "--no-privileges", "--file=-", str(file)]
    with (
        _running(fill, variables, stdin=subprocess.PIPE) as target,
        suppress(BrokenPipeError),
    ):  # psql says why it ended
        assert target.stdin is not None
        target.stdin.write(b"BEGIN;\n")
        with _running(unpack, os.environ, stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            for _ in range(HEAD_LINES):
                line = source.stdout.readline()
                target.stdin.write(b"" if line == NEW_SETTING else line)
            shutil.copyfileobj(source.stdout, target.stdin, 1 << 20)
        target.stdin.write(b"COMMIT;\n")  # only where pg_restore read the file to its end


def _client(name: str) -> tuple[str, dict[str, str]]:
    """Path of a client program that reaches the record, and its environment."""
    variables = environment(make_url(database_url()), os.environ)
    if not is_named():
        return str(bundled(name)), variables
    found = shutil.which(name)
    if found is None:
        raise ServerError(f"there is no {name} on this machine: install PostgreSQL's client programs")
    return found, variables


@contextmanager
def _running(
    program: list[str], variables: Mapping[str, str], stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A program while it runs; ServerError, with its standard error, where it fails."""
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(program, env=variables, stdin=stdin, stdout=stdout, stderr=errors) as running:
            try:
                yield running
            finally:
                if running.stdin is not None:
                    with suppress(BrokenPipeError):
                        running.stdin.close()
        if running.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
            raise ServerError(f"{Path(program[0]).name} failed: {said}")


def upgrade() -> None:
    """Bring the record to this code's schema, and let a reader role that was made since see its views."""
    engine = make_engine()
    with engine.begin() as connection:
        if not schema.let_read(connection):
            print(
                "there is no role lesionlens_reader and this user may not make it: ask an administrator for "
                "CREATE ROLE lesionlens_reader, then run this again",
                file=sys.stderr,
            )
        print("the record is at revision", connection.scalar(text("SELECT version_num FROM alembic_version")))


def check(message: str | None = None) -> None:
    """RecordError where migrations do not make what db/tables describes; with a message, write a migration of it.

    Works on a throw-away server of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        engine = create_engine(server.start(record))
        try:
            schema.upgrade(engine)
            if message is None:
                schema.check(engine)
            else:
                with engine.begin() as connection:
                    command.revision(schema.configuration(connection), message, autogenerate=True)
        except CommandError as error:
            raise schema.RecordError(f"migrations and db/tables differ: {error}") from None
        finally:
            engine.dispose()
            server.stop(record)
