"""The schema: migrated once, refused where it does not fit, and exactly what the tables describe."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from alembic.util import CommandError
from sqlalchemy import Column, Connection, Engine, Integer, create_engine, text

from db import schema
from db.schema import RecordError
from db.tables import metadata
from db.tables.columns import TERMS


@pytest.fixture
def bare(new_database: Callable[..., str]) -> Any:
    """An engine on a database without tables."""
    made = create_engine(new_database("template1"))
    yield made
    made.dispose()


def test_processes_that_upgrade_at_once_do_it_once(bare: Engine) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        engine = create_engine(bare.url)
        try:
            schema.upgrade(engine)
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
    with bare.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == schema.head()
        assert connection.scalar(schema.STAMPED) == schema.stamp()


@pytest.mark.parametrize(
    ("change", "told", "kept"),
    [
        (
            "UPDATE alembic_version SET version_num = '9999'",
            r"newer version of lesionlens .*9999",
            "SELECT count(*) FROM sample_results",
        ),
        # as where a newer version added a view, or somebody made one for himself
        (
            "CREATE VIEW public.mine AS SELECT iou FROM sample_results",
            r"view mine depends on view (lens\.)?sample_results",
            "SELECT count(*) FROM mine",
        ),
    ],
)
def test_a_record_that_cannot_be_upgraded_says_why_and_stays(
    filled_engine: Engine, change: str, told: str, kept: str
) -> None:
    with filled_engine.begin() as connection:
        connection.execute(text(change))
        connection.execute(text("COMMENT ON TABLE alembic_version IS 'another schema'"))
    with pytest.raises(RecordError, match=told):
        schema.upgrade(filled_engine)
    with filled_engine.connect() as connection:
        assert connection.scalar(text(kept)) == 12


def test_views_comments_and_rights_are_made_anew_where_they_differ(filled_engine: Engine) -> None:
    """As where a newer version changes a view and nothing else."""
    counted = text("SELECT count(*), sum(iou) FROM sample_results")
    described = "SELECT col_description('{}'::regclass, 1)"
    with filled_engine.begin() as connection:
        before = connection.execute(counted).one()
        connection.execute(text("DROP VIEW table_2_accuracy CASCADE; DROP VIEW sample_results"))
        connection.execute(text("CREATE VIEW lens.sample_results AS SELECT 1 AS stale"))
        connection.execute(text("COMMENT ON TABLE alembic_version IS 'another schema'"))
        connection.execute(text("COMMENT ON COLUMN run.id IS 'stale'"))
    schema.upgrade(filled_engine)
    with filled_engine.connect() as connection:
        assert connection.scalar(text(described.format("run"))) == TERMS["run"]["id"]
        assert connection.scalar(text(described.format("sample_results"))) == TERMS["columns"]["study_id"]
        connection.execute(text("SET ROLE lesionlens_reader"))
        assert connection.execute(counted).one() == before
        assert connection.scalar(text("SELECT count(*) FROM table_2_accuracy")) == 2


def test_a_view_comes_after_those_that_it_reads() -> None:
    seen: set[str] = set()
    for name, query in schema.views().items():
        assert f"CREATE VIEW {name} AS" in query and f"COMMENT ON VIEW {name} IS" in query
        assert (set(re.findall(r"\b(?:FROM|JOIN) (\w+)", query)) & schema.views().keys()) <= seen
        seen.add(name)


def test_migrations_make_what_the_tables_say(engine: Engine) -> None:
    schema.check(engine)
    run = metadata.tables["run"]
    added = Column("forgotten", Integer)
    run.append_column(added)
    try:
        with pytest.raises(CommandError, match="forgotten"):
            schema.check(engine)
    finally:
        run._columns.remove(added)  # type: ignore[attr-defined]


COLUMNS = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema IN ('public', 'lens')"
SHAPE = {
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conrelid <> 'alembic_version'::regclass",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    " AND tablename <> 'alembic_version'",
}


def test_migrations_make_the_constraints_and_indexes_that_the_tables_say(empty: Connection, bare: Engine) -> None:
    """Alembic compares no checks."""
    array_total = empty.scalar(text("SELECT pg_get_functiondef('array_total'::regproc)"))
    made = {name: set(empty.execute(text(query)).all()) for name, query in SHAPE.items()}
    with bare.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        connection.exec_driver_sql(str(array_total))
        metadata.create_all(connection)
        described = {name: set(connection.execute(text(query)).all()) for name, query in SHAPE.items()}
    assert len(made["constraints"]) > 200
    for name in SHAPE:
        assert made[name] ^ described[name] == set(), name


def test_every_table_view_and_column_is_explained(empty: Connection) -> None:
    bare = text("""
        SELECT c.relname, a.attname
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT a.attisdropped
        WHERE c.relnamespace IN ('public'::regnamespace, 'lens'::regnamespace) AND c.relkind IN ('r', 'v')
        AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
    """)
    assert empty.execute(bare).all() == []


def test_the_dictionary_explains_nothing_that_is_not_there(empty: Connection) -> None:
    columns = text(COLUMNS)
    found = set(empty.execute(columns).all())
    names = {column for _, column in found}
    assert TERMS["columns"].keys() - names == set()
    special = {(relation, column) for relation, terms in TERMS.items() if relation != "columns" for column in terms}
    assert special - found == set()
    same = {(r, c) for r, c in special if TERMS[r][c] == TERMS["columns"].get(c)}
    assert same == set()


def test_a_view_of_runs_names_study_and_run_alike(empty: Connection) -> None:
    """So that `WHERE study = 'demo' AND backbone = ...` works wherever a row is one run's."""
    columns = text(COLUMNS)
    found: dict[str, set[str]] = {name: set() for name in schema.views()}
    for relation, name in empty.execute(columns):
        if relation in found:
            found[relation].add(name)
    common = {"study_id", "study", "backbone", "strategy", "seed", "guidance"}
    assert {view: common - names for view, names in found.items() if "run_id" in names and common - names} == {}


def test_views_are_apart_and_found_by_their_names(empty: Connection) -> None:
    kinds = text("SELECT relkind, relnamespace::regnamespace::text FROM pg_class JOIN pg_namespace AS n"
                 " ON n.oid = relnamespace WHERE relkind IN ('r', 'v') AND nspname IN ('public', 'lens')")  # fmt: skip
    assert set(empty.execute(kinds).all()) == {("r", "public"), ("v", "lens")}
    setting = text("SELECT count(*) FROM pg_db_role_setting WHERE array_to_string(setconfig, ' ') LIKE '%search_path%'")
    assert empty.scalar(setting) >= 1
