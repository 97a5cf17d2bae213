"""Rows in by COPY, frames out: types, and connections that break in the middle."""

from typing import Any

import polars as pl
import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from db.bulk import copy_frame, copy_rows, enter, frame
from db.tables.data import dataset

COLUMNS = ("digest", "name", "kind", "root")
COUNT = text("SELECT count(*) FROM dataset")


def test_a_connection_lost_in_the_middle_of_a_copy_leaves_nothing(engine: Engine) -> None:
    killer = create_engine(engine.url)

    def rows(pid: int) -> Any:
        for n in range(5_000):
            if n == 2_000:
                with killer.begin() as connection:
                    connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            yield (f"digest {n}", "name", "kind", "x" * 1000)

    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        copy_rows(connection, dataset, COLUMNS, rows(int(pid or 0)))
    assert caught.value.connection_invalidated  # so the task is tried again
    with engine.begin() as connection:
        assert connection.scalar(COUNT) == 0
        copy_rows(connection, dataset, COLUMNS, [("d", "n", "k", "r")])
    killer.dispose()


def test_frames_have_the_types_of_their_columns_also_without_rows(connection: Connection) -> None:
    query = "SELECT sample_id, predicted_label_id, probabilities FROM prediction"
    found = frame(connection, query)
    assert found.schema == {"sample_id": pl.Int64, "predicted_label_id": pl.Int64, "probabilities": pl.List(pl.Float32)}
    none = frame(connection, query + " WHERE sample_id = %(number)s", number=-1)
    assert none.schema == found.schema and none.is_empty()


def test_numbers_that_are_not_finite_are_refused_by_column(empty: Connection) -> None:
    for value in (pl.lit(float("nan")), pl.lit([1.0, float("inf")])):
        with pytest.raises(ValueError, match=r"dataset\.root: 1 values are NaN or infinite"):
            copy_frame(empty, dataset, pl.DataFrame({"digest": ["d"]}).with_columns(root=value))


def test_a_row_is_entered_once(empty: Connection) -> None:
    values = {"name": "n", "kind": "k", "root": "/a"}
    number, new = enter(empty, dataset, {"digest": "d"}, values)
    assert new
    assert enter(empty, dataset, {"digest": "d"}, values | {"root": "/b"}) == (number, False)
    assert empty.scalar(text("SELECT root FROM dataset")) == "/a"
