"""Rows into tables and out as frames, inside the caller's transaction; many at once by binary COPY."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import polars as pl
import psycopg
from psycopg import sql
from psycopg.sql import Composed
from sqlalchemy import ARRAY, Boolean, Connection, Double, LargeBinary, SmallInteger, Table, Text, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert
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
# by PostgreSQL type number; what is not here (jsonb) polars infers
TYPES: dict[int, pl.DataType | type[pl.DataType]] = {
    16: pl.Boolean,
    17: pl.Binary,
    20: pl.Int64,
    21: pl.Int16,
    23: pl.Int32,
    25: pl.String,
    700: pl.Float32,
    701: pl.Float64,
    1009: pl.List(pl.String),
    1016: pl.List(pl.Int64),
    1021: pl.List(pl.Float32),
    1184: pl.Datetime("us", "UTC"),
}


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection below, in the same transaction."""
    found = connection.connection.driver_connection
    if not isinstance(found, psycopg.Connection):
        raise TypeError(f"the record is written through psycopg, not {type(found).__name__}")
    return found


def type_name(kind: TypeEngine[Any]) -> str:
    """PostgreSQL's name of a column type, which binary COPY needs."""
    if isinstance(kind, ARRAY):
        return f"{type_name(kind.item_type)}[]"
    for known, name in NAMES:
        if isinstance(kind, known):
            return name
    raise TypeError(f"no COPY type for {kind}")


def copy_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Append rows (values in the order of `columns`) to a table; its constraints apply."""
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
        values = column.explode() if isinstance(column.dtype, pl.List) else column
        bad = int((~values.is_finite()).sum()) if values.dtype.is_float() else 0
        if bad:
            raise ValueError(f"{name}.{column.name}: {bad} values are NaN or infinite; leave them NULL with a reason")


def finite(name: str, value: float) -> float:
    """The value; ValueError, naming the column, where it is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}: the record holds finite numbers only")
    return value


def frame(connection: Connection, query: LiteralString | Composed, **values: Any) -> pl.DataFrame:
    """The result of a query with named placeholders `%(name)s`, read in binary, typed also when it is empty."""
    with driver(connection).cursor(binary=True) as cursor:
        cursor.execute(query, values or None)
        kinds = [(column.name, TYPES.get(column.type_code)) for column in cursor.description or ()]
        rows = cursor.fetchall()
    # column by column: polars takes rows in several times as slowly
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
    return pl.DataFrame(
        [pl.Series(name, found, dtype=kind) for (name, kind), found in zip(kinds, columns, strict=True)]
    )


def enter(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> tuple[int, bool]:
    """The id of the row with this unique key, and whether it is new. A concurrent writer's row is waited for."""
    made = connection.scalar(
        upsert(table).values(**key, **values).on_conflict_do_nothing(index_elements=list(key)).returning(table.c.id)
    )
    if made is not None:
        return int(made), True
    found = connection.scalar(select(table.c.id).filter_by(**key))
    if found is None:
        raise RuntimeError(f"{table.name} {key} was deleted while it was being entered: try again")
    return int(found), False


def words(reason: str) -> str:
    """A reason that the record takes."""
    return reason.replace("\0", "") or "unknown"
