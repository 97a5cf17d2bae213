"""The role that reads the record's views and nothing else."""

from psycopg import sql
from sqlalchemy import Connection, text

from db.copy import driver
from db.migrate import SCRIPTS

VIEWS = frozenset(path.stem for path in (SCRIPTS / "views").glob("*/*.sql"))

# roles belong to the whole server: other databases on it may have made this one, or we may not be allowed to
MAKE = text("""
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        CREATE ROLE lesionlens_reader NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$
""")
MADE = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader')")
HERE = text("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
GRANT = sql.SQL("GRANT SELECT ON {} TO lesionlens_reader")


def let_read(connection: Connection) -> bool:
    """Let `lesionlens_reader`, made where it is missing, select from the record's views.

    False where the role is missing and may not be made: an administrator has to make it first.
    """
    connection.execute(MAKE)
    if not connection.scalar(MADE):
        return False
    # views that somebody else made in the same database are none of the reader's business
    views = sorted(VIEWS.intersection(connection.scalars(HERE)))
    cursor = driver(connection)
    cursor.execute("GRANT USAGE ON SCHEMA public TO lesionlens_reader")
    cursor.execute(GRANT.format(sql.SQL(", ").join(map(sql.Identifier, views))))
    return True
