"""The record's address, and the engine on it."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from commands.__main__ import main
from db import engine
from db.engine import database_url as url_in_use
from db.engine import make_engine, parse
from db.postgres import server
from db.schema import RecordError
from tests.full_postgres import PASSWORD, FullPostgres
from tests.record.test_clients import psql

ROOT = Path(__file__).resolve().parents[2]
OF_ANOTHER_SERVER = (
    "PGPORT=5433", "PGHOSTADDR=127.0.0.1", "PGSERVICE=prod", "PGCHANNELBINDING=require", "PGREQUIREAUTH=scram-sha-256",
    "PGSSLNEGOTIATION=direct", "PGGSSENCMODE=require", "PGTARGETSESSIONATTRS=read-only", "PGSSLMODE=require",
    "PGCLIENTENCODING=SQL_ASCII", "PGCLIENTENCODING=LATIN1", "PGDATESTYLE=German", "PGOPTIONS=-c search_path=mine",
    "PGOPTIONS=-c default_transaction_read_only=on", "PGOPTIONS=-c statement_timeout=1", "PGSSLCERTMODE=require",
    "PGMINPROTOCOLVERSION=3.9", "PGLOADBALANCEHOSTS=perhaps", "PGCONNECT_TIMEOUT=soon",
)  # fmt: skip
LETTERS = text("SELECT '日本', now(), pg_sleep(0.01)")
TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"


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


def test_the_address_is_read_in_one_place() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "db", "tasks", "flows", "commands")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"settings\(\)\.database_url|environ.*DATABASE_URL", path.read_text())
    ]
    assert readers == ["db/engine.py"]


@pytest.fixture(scope="module")
def embedded_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("embedded") / "home"
    yield home
    server.stop(home / "record")


@pytest.fixture
def embedded(embedded_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is named: the record is the embedded one, and nobody is connected to it."""
    monkeypatch.delenv("LESIONLENS_DATABASE_URL", raising=False)
    monkeypatch.setenv("LESIONLENS_HOME", str(embedded_home))
    engine._engine.cache_clear()


def set_variables(monkeypatch: pytest.MonkeyPatch, *variables: str) -> None:
    for variable in variables:
        monkeypatch.setenv(*variable.split("=", 1))


@pytest.mark.parametrize("variable", OF_ANOTHER_SERVER)
def test_variables_of_another_server_do_not_concern_the_embedded_record(
    variable: str, embedded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_engine().dispose()
    set_variables(monkeypatch, variable)
    engine._engine.cache_clear()
    with make_engine().begin() as connection:
        assert connection.execute(LETTERS).one()[0] == "日本"
        connection.execute(text("CREATE TEMP TABLE written AS SELECT * FROM study"))


def test_nothing_is_made_in_the_server_that_the_shell_names(
    full: FullPostgres, embedded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Engine, prompt and backup."""
    named = ("PGHOSTADDR=127.0.0.1", f"PGPORT={full.port}", "PGUSER=lesionlens", f"PGPASSWORD={PASSWORD}",
             "PGDATABASE=postgres", "PGSSLMODE=disable")  # fmt: skip
    ours = "SELECT inet_server_addr() IS NULL"  # a Unix socket

    def others() -> None:
        set_variables(monkeypatch, *named)

    with psycopg.connect(full.url("postgres")) as there:
        before = there.execute(TABLES).fetchone()
        others()
        with make_engine().connect() as connection:
            assert connection.scalar(text(ours)) is True
        others()
        assert psql(ours + ";", "-At").stdout == "t\n"
        others()
        assert main(["backup", str(tmp_path / "record.dump")]) == 0
        assert there.execute(TABLES).fetchone() == before == (0,)
    assert b"activation_map" in (tmp_path / "record.dump").read_bytes()


@pytest.mark.parametrize("setting", ["PGCLIENTENCODING=SQL_ASCII", "PGDATESTYLE=German"])
def test_a_named_server_gives_text_and_dates_whatever_the_shell_says(
    setting: str, full: FullPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, setting)
    engine._engine.cache_clear()
    with make_engine().connect() as connection:
        assert connection.execute(LETTERS).one()[0] == "日本"


def test_a_named_server_gives_text_and_dates_whatever_its_database_says(
    full: FullPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(full.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE german")
        for setting in ("datestyle = 'German'", "client_encoding = 'LATIN1'"):
            connection.execute(f"ALTER DATABASE german SET {setting}")
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", full.url("german"))
    with make_engine().connect() as connection:
        assert connection.execute(LETTERS).one()[0] == "日本"


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_a_database_that_cannot_hold_every_name_is_refused_with_the_remedy(
    encoding: str, full: FullPostgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(full.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {encoding} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", full.url(encoding.lower()))
    with pytest.raises(RecordError, match=f"is in {encoding}.*UTF8"):
        make_engine()
    for command in ("sql", "migrate", "restore"):
        assert main([command] if command != "restore" else [command, __file__]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "CREATE DATABASE record ENCODING 'UTF8'" in line
    with psycopg.connect(full.url(encoding.lower()), client_encoding="utf8") as connection:
        assert connection.execute(TABLES).fetchone() == (0,)
