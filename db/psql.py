"""A prompt on the record: python -m db.psql [psql's own options]. SQL on standard input works too."""

import os
import sys
from collections.abc import Mapping

from sqlalchemy import URL, make_url

from db.engine import database_url, make_engine
from db.postgres import program


def environment(url: URL, base: Mapping[str, str]) -> dict[str, str]:
    """libpq's variables for a URL: a password on a command line could be read by every user of the machine."""
    values = {
        "PGHOST": url.host,
        "PGPORT": str(url.port) if url.port else None,
        "PGUSER": url.username,
        "PGPASSWORD": url.password if isinstance(url.password, str) else None,
        "PGDATABASE": url.database,
    }
    named = {
        "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE",
        "sslmode": "PGSSLMODE", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslrootcert": "PGSSLROOTCERT",
        "sslcrl": "PGSSLCRL", "channel_binding": "PGCHANNELBINDING", "options": "PGOPTIONS", "service": "PGSERVICE",
        "connect_timeout": "PGCONNECT_TIMEOUT", "application_name": "PGAPPNAME", "passfile": "PGPASSFILE",
        "target_session_attrs": "PGTARGETSESSIONATTRS", "gssencmode": "PGGSSENCMODE",
    }  # fmt: skip
    for option, value in url.query.items():
        if option not in named:
            raise ValueError(f"LESIONLENS_DATABASE_URL: option {option!r} has no environment variable of libpq")
        values[named[option]] = value if isinstance(value, str) else ",".join(value)
    return dict(base) | {name: value for name, value in values.items() if value}


def main(arguments: list[str] | None = None) -> int:
    """Become psql; returns only where that fails."""
    make_engine().dispose()  # started and migrated
    given = sys.argv[1:] if arguments is None else arguments
    command = [str(program("psql")), "--no-psqlrc", *given]
    if not sys.stdin.isatty():
        command[2:2] = ["--set", "ON_ERROR_STOP=1"]
    sys.stdout.flush()
    os.execve(command[0], command, environment(make_url(database_url()), os.environ))


if __name__ == "__main__":
    sys.exit(main())
