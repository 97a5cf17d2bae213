"""The record's address, and the engine on it."""

import re
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from db.engine import database_url as url_in_use
from db.engine import make_engine, parse

ROOT = Path(__file__).resolve().parents[2]


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
        for folder in ("src", "db", "tasks", "flows")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"settings\(\)\.database_url|environ.*DATABASE_URL", path.read_text())
    ]
    assert readers == ["db/engine.py"]
