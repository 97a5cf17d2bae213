"""What all tables share: one MetaData with named constraints, and columns that carry a comment."""

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Identity, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def identity(comment: str) -> Column[Any]:
    """The table's own number."""
    return Column("id", BigInteger, Identity(always=False), primary_key=True, comment=comment)


def reference(table: str, comment: str, **options: Any) -> Column[Any]:
    """A foreign key `<table>_id`; what hangs below a deleted row goes with it.

    Options are Column's, and `name` where the column is called otherwise.
    """
    name = options.pop("name", f"{table}_id")
    options.setdefault("nullable", False)
    return Column(name, BigInteger, ForeignKey(f"{table}.id", ondelete="CASCADE"), comment=comment, **options)


def text(name: str, comment: str, nullable: bool = False, **options: Any) -> Column[Any]:
    """Text that must be there unless said otherwise."""
    return Column(name, Text, nullable=nullable, comment=comment, **options)


def document(name: str, comment: str) -> Column[Any]:
    """A JSON document."""
    return Column(name, JSONB, nullable=False, comment=comment)


def moment(name: str, comment: str, nullable: bool = False) -> Column[Any]:
    """A time with zone; where it must be there it is the database's own clock, never a client's."""
    default = None if nullable else func.now()
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=default, comment=comment)
