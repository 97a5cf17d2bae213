"""URL, engine, migrations: started, migrated once, refused where they do not fit."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.util import CommandError
from sqlalchemy import Column, Engine, Integer, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from db import embedded, migrate
from db.engine import database_url as url_in_use
from db.engine import make_engine, parse
from db.metadata import metadata
from db.migrate import RecordError
from lesionlens.settings import home

ROOT = Path(__file__).resolve().parents[2]


def test_without_a_url_the_embedded_server_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LESIONLENS_DATABASE_URL", raising=False)
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "state"))
    try:
        engine = make_engine()
        with engine.connect() as connection:
            assert migrate.current(connection) == migrate.head()
        assert make_engine() is engine
        embedded.stop(home().record)
        with make_engine().connect() as connection:  # started anew, dead connections replaced
            assert connection.scalar(text("SELECT count(*) FROM run")) == 0
        engine.dispose()
    finally:
        embedded.stop(home().record)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_urls_are_given_their_driver_and_keep_their_options(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", f"{scheme}://u:p%40ss@host:5433/d?sslmode=verify-full")
    assert url_in_use() == "postgresql+psycopg://u:p%40ss@host:5433/d?sslmode=verify-full"


@pytest.mark.parametrize(
    "wrong",
    ["secret", "mysql://u:secret@h/d", "postgresql://u:secret@h:port/d", "postgresql://u:half@secret@h/d"],
)
def test_a_wrong_url_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(ValueError, match="LESIONLENS_DATABASE_URL") as caught:
        parse(wrong)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_engine_never_shows_password_or_values(database_url: str) -> None:
    for url in ("postgresql://u:secret@h/d", "postgresql://h/d?user=u&password=secret&sslmode=require"):
        named = parse(url)
        made = create_engine(named)
        assert "secret" not in repr(made) + str(made.url) + repr(named)
        assert made.dialect.create_connect_args(named)[1]["password"] == "secret"
    with pytest.raises(DBAPIError) as caught, make_engine().connect() as connection:
        connection.execute(text("SELECT 1 / 0, CAST(:value AS text)"), {"value": "Ann Smith"})
    assert "Ann" not in str(caught.value)


def test_processes_that_migrate_at_once_do_it_once(new_database: Callable[..., str]) -> None:
    url = new_database(migrated=False)
    failures: list[BaseException] = []

    def run() -> None:
        engine = create_engine(url)
        try:
            migrate.upgrade(engine)
        except BaseException as error:
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    engine = create_engine(url)
    with engine.connect() as connection:
        assert migrate.current(connection) == migrate.head()
    engine.dispose()


def test_a_record_of_a_newer_version_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RecordError, match="newer version of lesionlens"):
        migrate.upgrade(engine)


def test_migrations_make_what_the_tables_say(engine: Engine) -> None:
    migrate.check(engine)
    run = metadata.tables["run"]
    added = Column("forgotten", Integer)
    run.append_column(added)
    try:
        with pytest.raises(CommandError, match="forgotten"):
            migrate.check(engine)
    finally:
        run._columns.remove(added)  # type: ignore[attr-defined]


SHAPE = {
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conrelid <> 'alembic_version'::regclass",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    " AND tablename <> 'alembic_version'",
}


def test_migrations_make_the_constraints_and_indexes_that_the_tables_say(
    engine: Engine, new_database: Callable[..., str]
) -> None:
    """Alembic compares no checks."""
    described = create_engine(new_database(migrated=False))
    with engine.connect() as connection:
        array_total = connection.scalar(text("SELECT pg_get_functiondef('array_total'::regproc)"))
        made = {name: set(connection.execute(text(query)).all()) for name, query in SHAPE.items()}
    with described.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        connection.exec_driver_sql(array_total)
        metadata.create_all(connection)
        said = {name: set(connection.execute(text(query)).all()) for name, query in SHAPE.items()}
    described.dispose()
    assert len(made["constraints"]) > 200
    for name in SHAPE:
        assert made[name] ^ said[name] == set(), name


def test_migrations_go_down_and_up_again(engine: Engine) -> None:
    migrate.downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate.upgrade(engine)
    migrate.check(engine)


def test_views_go_down_and_up_on_a_filled_record(engine: Engine, filled: object) -> None:
    counted = text("SELECT count(*), sum(iou) FROM sample_results")
    with engine.connect() as connection:
        before = connection.execute(counted).one()
    migrate.downgrade(engine, "0003")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(counted).one() == before


def test_every_table_view_and_column_is_explained(engine: Engine) -> None:
    bare = text("""
        SELECT c.relname, a.attname
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')
        AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
    """)
    with engine.connect() as connection:
        assert connection.execute(bare).all() == []


def test_the_url_is_read_in_one_place() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "db", "tasks", "flows")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"settings\(\)\.database_url|environ.*DATABASE_URL", path.read_text())
    ]
    assert readers == ["db/engine.py"]
