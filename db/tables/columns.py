"""What tables are made of: one MetaData with named constraints, kinds of columns, and what every column means."""

import tomllib
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    MetaData,
    Text,
    func,
)
from sqlalchemy import Table as Made
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

TERMS: dict[str, dict[str, str]] = tomllib.loads((Path(__file__).parent.parent / "terms.toml").read_text("utf-8"))
ENDS = {"_low": "Lower end of the 95 % CI of", "_high": "Upper end of the 95 % CI of"}

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def meaning(relation: str, column: str) -> str:
    """What a column of a table or view means, by terms.toml: its own entry there, else the word's."""
    found = TERMS.get(relation, {}).get(column) or TERMS["columns"].get(column)
    for end, words in ENDS.items():
        if found is None and column.endswith(end):
            found = f"{words} {column.removesuffix(end)}"
    if found is None:
        raise KeyError(f"db/terms.toml does not say what {relation}.{column} means")
    return found


def table(name: str, comment: str, *items: SchemaItem) -> Made:
    """A table of the record; its columns carry their meaning as comment."""
    made = Made(name, metadata, *items, comment=comment)
    for column in made.columns:
        column.comment = meaning(name, column.name)
    return made


def identity() -> Column[Any]:
    """The row's number."""
    return Column("id", BigInteger, Identity(always=False), primary_key=True)


def reference(table: str, name: str | None = None, nullable: bool = False, **options: Any) -> Column[Any]:
    """A foreign key `<table>_id`, or `name`; rows that refer to a deleted row are deleted with it."""
    key = ForeignKey(f"{table}.id", ondelete="CASCADE")
    return Column(name or f"{table}_id", BigInteger, key, nullable=nullable, **options)


def text(name: str, nullable: bool = False, **options: Any) -> Column[Any]:
    """Text, by default required."""
    return Column(name, Text, nullable=nullable, **options)


def texts(*names: str, **options: Any) -> list[Column[Any]]:
    """Several columns of text."""
    return [text(name, **options) for name in names]


def number(kind: type[TypeEngine[Any]], *names: str, nullable: bool = False) -> list[Column[Any]]:
    """Columns of whole numbers."""
    return [Column(name, kind, nullable=nullable) for name in names]


def flags(*names: str, nullable: bool = False) -> list[Column[Any]]:
    """Columns of yes and no."""
    return [Column(name, Boolean, nullable=nullable) for name in names]


def document(name: str) -> Column[Any]:
    """A JSON document, required."""
    return Column(name, JSONB, nullable=False)


def moment(name: str, nullable: bool = False) -> Column[Any]:
    """A time with zone; where it is required the database's clock gives it, never a client's."""
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=None if nullable else func.now())


def real(name: str, nullable: bool = False) -> Column[Any]:
    """A double."""
    return Column(name, Double, nullable=nullable)


def proportion(name: str, nullable: bool = True, lowest: int = 0) -> tuple[Column[Any], CheckConstraint]:
    """A number in [lowest, 1] or NULL. NaN is refused: it compares above all numbers."""
    return real(name, nullable), CheckConstraint(f"{name} BETWEEN {lowest} AND 1", name=name)


def interval(lowest: int = 0) -> tuple[SchemaItem, ...]:
    """Columns low and high, in order and in [lowest, 1]."""
    ends = *proportion("low", lowest=lowest), *proportion("high", lowest=lowest)
    return *ends, CheckConstraint("low <= high", name="interval")


def count(name: str) -> tuple[Column[Any], CheckConstraint]:
    """A number of samples."""
    return Column(name, BigInteger, nullable=False), CheckConstraint(f"{name} >= 0", name=name)


def explained(value: str) -> CheckConstraint:
    """That a NULL value comes with a reason."""
    return CheckConstraint(f"{value} IS NOT NULL OR reason IS NOT NULL", name="null_has_reason")


def scored(value: str, lowest: int = 0) -> tuple[SchemaItem, ...]:
    """A score in [lowest, 1] with its interval, how many samples it rests on, and why it is NULL."""
    columns = *proportion(value, lowest=lowest), *interval(lowest), *count("n"), text("reason", nullable=True)
    return *columns, explained(value)
