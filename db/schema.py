"""The record's schema: tables by migrations; views, comments and the reader's rights anew after every upgrade.

Tables lie in `public`, views, which are for people, in `lens`.

Views and comments hold no data, so their change needs no migration. A migration that removes a view's file drops
the view itself.
"""

import re
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import sql
from psycopg.errors import DependentObjectsStillExist
from sqlalchemy import Connection, Engine, text

from db.bulk import driver
from db.tables import metadata
from db.tables.columns import TERMS, meaning
from lesionlens.identity import digest

VIEWS = Path(__file__).parent / "views"
MIGRATIONS = Path(__file__).parent.parent / "migrations"
LENS = "lens"
PATH = f"SET search_path = public, {LENS}"
LOCK = 7_305_194_102  # any number, the same in all versions
# the table's comment carries the schema's digest: every role can read it, whatever its rights
STAMP = "Which migration this record is at; schema {}"
STAMPED = text("SELECT obj_description(to_regclass('alembic_version'), 'pg_class')")

COLUMNS = text("SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:name) AND attnum > 0 ORDER BY attnum")
# roles belong to the whole server: other databases on it may have made this one, or we may not be allowed to
READER = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        CREATE ROLE lesionlens_reader NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$
"""
# so that other programs find views by their names alone, where nobody has set another path
FOUND = f"""
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase
        WHERE d.datname = current_database() AND s.setrole = 0
        AND array_to_string(s.setconfig, ' ') LIKE '%search_path=%'
    ) THEN
        EXECUTE format('ALTER DATABASE %I SET search_path = public, {LENS}', current_database());
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN NULL;
END $$
"""
READER_EXISTS = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader')")


class RecordError(RuntimeError):
    """The record and this code do not fit together; the message says what to do."""


def upgrade(engine: Engine) -> None:
    """Bring the record to this code's schema; does nothing where it is.

    One process migrates, others wait. RecordError for a record that newer code has migrated.
    """
    with engine.connect() as connection:
        if connection.scalar(STAMPED) == stamp():
            return
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '10min'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        if connection.scalar(STAMPED) == stamp():
            return
        # rather give up than make readers wait behind it for long
        connection.execute(text("SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '30min'"))
        driver(connection).execute(f"CREATE SCHEMA IF NOT EXISTS {LENS}")
        try:
            driver(connection).execute(_views("DROP VIEW IF EXISTS {}"))
            command.upgrade(configuration(connection), "head")
        except CommandError as error:
            if "Can't locate revision" not in str(error):
                raise
            raise RecordError(
                f"the record was migrated by a newer version of lesionlens ({error}): install that version, or "
                "restore a backup made before"
            ) from None
        except DependentObjectsStillExist as error:
            raise RecordError(
                "views that this version of lesionlens did not make read the record's own "
                f"({'; '.join((error.diag.message_detail or '').splitlines())}): drop them first, or, where a newer "
                "version made them, install that one"
            ) from None
        driver(connection).execute(f"SET LOCAL search_path = {LENS}, public")
        for view in views().values():
            driver(connection).execute(view.encode())
        driver(connection).execute(f"SET LOCAL search_path = public, {LENS}")
        _comment(connection)
        let_read(connection)


def check(engine: Engine) -> None:
    """Raise alembic's CommandError where db/tables holds what no migration makes."""
    with engine.begin() as connection:
        command.check(configuration(connection))


def head() -> str:
    """The newest revision that this code knows."""
    newest = ScriptDirectory.from_config(configuration()).get_current_head()
    if newest is None:
        raise RecordError(f"no migrations in {MIGRATIONS}: the installation is incomplete")
    return newest


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, working on the given connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@lru_cache(maxsize=1)
def stamp() -> str:
    """Comment of `alembic_version` in a record whose schema is this code's."""
    migrations = [path.read_text("utf-8") for path in sorted((MIGRATIONS / "versions").glob("*.*"))]
    tables = {table.name: table.comment for table in metadata.sorted_tables}
    return STAMP.format(digest(migrations, views(), TERMS, tables)[:16])


@lru_cache(maxsize=1)
def views() -> dict[str, str]:
    """The definition of every view by name, each after the views that it reads."""
    found = {path.stem: path.read_text("utf-8") for path in VIEWS.glob("*.sql")}
    reads = {name: found.keys() & re.findall(r"(?:FROM|JOIN) (\w+)", query) for name, query in sorted(found.items())}
    return {name: found[name] for name in TopologicalSorter(reads).static_order()}


def let_read(connection: Connection) -> bool:
    """Let `lesionlens_reader`, made where it is missing, select from the record's views; and any program find them.

    False where the role is missing and may not be made: an administrator has to make it first.
    """
    driver(connection).execute(FOUND)
    connection.exec_driver_sql(READER)
    if not connection.scalar(READER_EXISTS):
        return False
    # no other views: those that somebody else made in the same database may show more
    driver(connection).execute(f"GRANT USAGE ON SCHEMA public, {LENS} TO lesionlens_reader")
    driver(connection).execute(_views("GRANT SELECT ON {} TO lesionlens_reader"))
    return True


def _comment(connection: Connection) -> None:
    """Say what every table and column is; views bring their own comment."""
    comments = {"alembic_version": stamp()} | {t.name: str(t.comment) for t in metadata.sorted_tables}
    statements = [
        sql.SQL("COMMENT ON TABLE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
        for name, comment in comments.items()
    ]
    for name in (*comments, *views()):
        for column in connection.scalars(COLUMNS, {"name": name}):
            target, words = sql.Identifier(name, column), sql.Literal(meaning(name, column))
            statements.append(sql.SQL("COMMENT ON COLUMN {} IS {}").format(target, words))
    driver(connection).execute(sql.SQL("; ").join(statements))


def _views(statement: Any) -> sql.Composed:
    """The statement with the names of all views in its place {}."""
    return sql.SQL(statement).format(sql.SQL(", ").join(sql.Identifier(LENS, name) for name in views()))
