"""Every query of docs/record.md runs and answers; the reader role sees views and nothing else."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import ProgrammingError

from db import tables

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "record.md").read_text()
QUESTIONS = re.findall(r"^([^\n]+)\n\n```sql\n(.*?)```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_there_are_fifteen_questions() -> None:
    assert len(QUESTIONS) == 15


@pytest.mark.parametrize(("question", "query"), QUESTIONS, ids=[question for question, _ in QUESTIONS])
def test_a_question_has_an_answer(engine: Engine, filled: object, question: str, query: str) -> None:
    with engine.connect() as connection:
        assert connection.execute(text(query)).all(), question


def test_every_table_and_view_is_named(engine: Engine) -> None:
    names = {t.name for t in tables.metadata.sorted_tables} | set(inspect(engine).get_view_names())
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


def test_the_reader_reads_views_and_nothing_else(engine: Engine, filled: object) -> None:
    views, found = inspect(engine).get_view_names(), inspect(engine).get_table_names()
    with engine.connect() as connection:
        connection.execute(text("SET ROLE lesionlens_reader"))
        for view in views:
            assert connection.execute(text(f"SELECT * FROM {view}")).all(), view  # noqa: S608
        connection.commit()
        for statement in [f"SELECT * FROM {name}" for name in found] + ["CREATE TABLE mine (n int)"]:  # noqa: S608
            connection.execute(text("SET ROLE lesionlens_reader"))
            with pytest.raises(ProgrammingError, match="permission denied"):
                connection.execute(text(statement))
            connection.rollback()
