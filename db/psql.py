"""A prompt on the record: python -m db.psql [psql's own options]. SQL on standard input works too."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from psycopg import pq
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ProgrammingError

from db.command import in_one_line
from db.engine import database_url, make_engine
from db.postgres import program


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


def with_tls(variables: Mapping[str, str]) -> dict[str, str]:
    """Let the bundled programs, built without TLS, reach a named server through psycopg's libpq, which has it.

    Where that is older than version 18 it lacks what they call, and they keep their own.
    """
    mapped = (line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines())
    library = next((path for path in mapped if Path(path).name.startswith("libpq")), None)
    local = variables.get("PGHOST", "/").startswith("/")
    if local or library is None or pq.version() < 180000 or re.search(r"[\s:]", library):  # LD_PRELOAD's separators
        return dict(variables)
    return dict(variables) | {"LD_PRELOAD": ":".join(filter(None, (library, variables.get("LD_PRELOAD"))))}


@in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Become psql; returns only where that fails."""
    try:
        make_engine().dispose()  # started and migrated
    except ProgrammingError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        # a reader sees the record as its owner left it, and need not see which revision that is
    given = sys.argv[1:] if arguments is None else arguments
    command = [str(program("psql")), "--no-psqlrc", *given]
    if not sys.stdin.isatty():
        command[2:2] = ["--set", "ON_ERROR_STOP=1"]
    sys.stdout.flush()
    os.execve(command[0], command, with_tls(environment(make_url(database_url()), os.environ)))


if __name__ == "__main__":
    sys.exit(main())
