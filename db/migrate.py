"""Migrations of the record: python -m db.migrate upgrade | downgrade | check | revision.

They run by themselves when an engine is made, one process at a time, each in one transaction.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, text

SCRIPTS = Path(__file__).resolve().parent.parent / "migrations"
LOCK = 7_305_194_102  # any number, the same in all versions


class RecordError(RuntimeError):
    """The record and this code do not fit together; the message says what to do."""


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, working on the given connection."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The newest revision that this code knows."""
    newest = ScriptDirectory.from_config(configuration()).get_current_head()
    if newest is None:
        raise RecordError(f"no migrations in {SCRIPTS}: the installation is incomplete")
    return newest


def current(connection: Connection) -> str | None:
    """The record's revision; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> None:
    """Bring the record to this code's revision; does nothing where it is.

    One process migrates, others wait. RecordError for a record that newer code has migrated, or for a
    database that holds tables of something else.
    """
    with engine.connect() as connection:
        if current(connection) == head():
            return
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '10min'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        found = current(connection)
        if found == head():
            return
        _check_known(found)
        _timeouts(connection)
        command.upgrade(configuration(connection), "head")


def _check_known(found: str | None) -> None:
    if found is None:
        return
    try:
        ScriptDirectory.from_config(configuration()).get_revision(found)
    except CommandError:
        raise RecordError(
            f"the record was migrated by a newer version of lesionlens (its revision is {found}, the newest known "
            f"here is {head()}): install that version, or restore a backup made before"
        ) from None


def _timeouts(connection: Connection) -> None:
    """A migration gives up rather than block readers behind it for long."""
    connection.execute(text("SET LOCAL lock_timeout = '30s'"))
    connection.execute(text("SET LOCAL statement_timeout = '30min'"))


def downgrade(engine: Engine, revision: str) -> None:
    """Take the record back to a revision ("base" empties it)."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        _timeouts(connection)
        command.downgrade(configuration(connection), revision)


def check(engine: Engine) -> None:
    """Raise alembic's error where db/tables.py holds what no migration makes."""
    with engine.begin() as connection:
        command.check(configuration(connection))


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    from db.command import in_one_line  # it imports this module

    return in_one_line(_run)(arguments)


def _run(arguments: list[str] | None) -> int:
    """`check` and `revision` work on a throw-away server of their own, the others on the record."""
    parser = argparse.ArgumentParser(prog="python -m db.migrate", description="Migrations of the record")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="bring the record to this code's revision")
    commands.add_parser("check", help="do migrations make what db/tables.py describes?")
    down = commands.add_parser("downgrade", help="take the record back; data of what goes is lost")
    down.add_argument("revision", help="revision to go back to, or base")
    new = commands.add_parser("revision", help="write a migration from what db/tables.py has more")
    new.add_argument("message", help="what changes, in a few words")
    options = parser.parse_args(arguments)
    if options.command in ("check", "revision"):
        return _on_throw_away_server(options)
    from db.engine import make_engine  # it imports this module

    engine = make_engine()
    if options.command == "downgrade":
        downgrade(engine, options.revision)
    else:
        _let_read(engine)
    with engine.connect() as connection:
        print(f"the record is at revision {current(connection)}")
    return 0


def _let_read(engine: Engine) -> None:
    """Migrations grant what they make to a role that is there: one made later is given everything here."""
    from db.reader import let_read

    with engine.begin() as connection:
        if not let_read(connection):
            print(
                "there is no role lesionlens_reader and this user may not make it: ask an administrator for "
                "CREATE ROLE lesionlens_reader, then run this again",
                file=sys.stderr,
            )


def _on_throw_away_server(options: argparse.Namespace) -> int:
    from db import embedded

    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        engine = create_engine(embedded.start(record))
        try:
            upgrade(engine)
            if options.command == "check":
                check(engine)
                return 0
            with engine.begin() as connection:
                command.revision(configuration(connection), options.message, autogenerate=True)
            return 0
        except CommandError as error:
            print(f"lesionlens: migrations and db/tables.py differ: {error}", file=sys.stderr)
            return 1
        finally:
            engine.dispose()
            embedded.stop(record)


if __name__ == "__main__":
    sys.exit(main())
