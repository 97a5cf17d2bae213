"""Query results as polars frames, typed by what PostgreSQL says, also when they are empty."""

from typing import Any, LiteralString

import polars as pl
from psycopg.sql import Composed
from sqlalchemy import Connection

from db.copy import driver

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
    1021: pl.List(pl.Float32),
    1184: pl.Datetime("us", "UTC"),
}


def frame(connection: Connection, query: LiteralString | Composed, **values: Any) -> pl.DataFrame:
    """The result of a query with named placeholders `%(name)s`, read in binary."""
    with driver(connection).cursor(binary=True) as cursor:
        cursor.execute(query, values or None)
        kinds = [(column.name, TYPES.get(column.type_code)) for column in cursor.description or ()]
        rows = cursor.fetchall()
    # Column by column: polars takes rows in several times as slowly.
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
    return pl.DataFrame(
        [pl.Series(name, found, dtype=kind) for (name, kind), found in zip(kinds, columns, strict=True)]
    )
