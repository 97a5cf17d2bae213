"""Bulk rows by binary COPY, inside the caller's transaction."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
import psycopg
from psycopg import sql
from sqlalchemy import ARRAY, Boolean, Connection, Double, LargeBinary, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import REAL, BigInteger, Integer, TypeEngine

NAMES: tuple[tuple[type[TypeEngine[Any]], str], ...] = (
    (JSONB, "jsonb"),
    (SmallInteger, "int2"),
    (BigInteger, "int8"),
    (Integer, "int4"),
    (Boolean, "bool"),
    (Double, "float8"),
    (REAL, "float4"),
    (LargeBinary, "bytea"),
    (Text, "text"),
)


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection below, in the same transaction."""
    found = connection.connection.driver_connection
    if not isinstance(found, psycopg.Connection):
        raise TypeError(f"the record is written through psycopg, not {type(found).__name__}")
    return found


def type_name(kind: TypeEngine[Any]) -> str:
    """PostgreSQL's name of a column type, as binary COPY must be told."""
    if isinstance(kind, ARRAY):
        return f"{type_name(kind.item_type)}[]"
    for known, name in NAMES:
        if isinstance(kind, known):
            return name
    raise TypeError(f"no COPY type for {kind}")


def copy_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Append rows (values in the order of `columns`) to a table. The table's checks and keys hold as ever."""
    statement = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)").format(
        table=sql.Identifier(table.name), columns=sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([type_name(table.c[name].type) for name in columns])
        for row in rows:
            copy.write_row(row)


def copy_frame(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Append a frame whose columns are named as the table's. ValueError where a number is not finite."""
    refuse_not_finite(table.name, frame)
    copy_rows(connection, table, frame.columns, frame.iter_rows())


def refuse_not_finite(name: str, frame: pl.DataFrame) -> None:
    """ValueError, naming the column, where a number (or a list's element) is NaN or infinite."""
    for column in frame.get_columns():
        kind = column.dtype
        values = column
        if isinstance(kind, pl.List) and kind.inner in (pl.Float32, pl.Float64):
            values = column.explode()
        elif kind not in (pl.Float32, pl.Float64):
            continue
        bad = int((~values.is_finite()).sum())
        if bad:
            raise ValueError(f"{name}.{column.name}: {bad} values are NaN or infinite; leave them NULL with a reason")


def finite(name: str, value: float) -> float:
    """The value; ValueError, naming the column, where it is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}: the record holds finite numbers only")
    return value
