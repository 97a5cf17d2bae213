"""The checklist of CLAIM 2024 and TRIPOD+AI: each item with the query that answers it, and what the record answers."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from psycopg import sql
from sqlalchemy import Connection

from db.bulk import driver, frame

COLUMNS = {name: pl.String for name in ("claim", "tripod", "section", "title", "value", "query")}


@dataclass(frozen=True, slots=True)
class Item:
    """claim, tripod: its numbers, empty where that guideline has none; query: gives a column `value` of text."""

    claim: str
    tripod: str
    section: str
    title: str
    query: str = ""


ITEMS = tuple(
    Item(**item) for item in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["item"]
)


def checklist(connection: Connection, study_id: int) -> pl.DataFrame:
    """Every item with what the record answers; columns COLUMNS.

    value: the rows of the query joined by semicolons; null where there is no query or it gives no row. query: as it
    ran, null where there is none.
    """
    return pl.DataFrame([_answered(connection, item, study_id) for item in ITEMS], COLUMNS, orient="row")


def _answered(connection: Connection, item: Item, study_id: int) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(item, name) for name in ("claim", "tripod", "section", "title")}
    if not item.query:
        return row | {"value": None, "query": None}
    query = sql.SQL(item.query.strip()).format(study=sql.Literal(study_id))
    found = frame(connection, query)["value"].drop_nulls().to_list()
    return row | {"value": "; ".join(found) or None, "query": query.as_string(driver(connection))}


def script(answered: pl.DataFrame) -> str:
    """The queries of a checklist, each below the numbers of its item."""
    named = answered.drop_nulls("query").iter_rows(named=True)
    return ";\n\n".join(
        f"-- CLAIM {row['claim'] or '-'}, TRIPOD+AI {row['tripod'] or '-'}\n{row['query']}" for row in named
    )
