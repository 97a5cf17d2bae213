"""Writes the entity diagram of docs/record.md from the tables: python -m docs.entities"""

from pathlib import Path

from sqlalchemy import Column, Table, UniqueConstraint

from db.tables import metadata

PAGE = Path(__file__).with_name("record.md")
START, END = "<!-- entities: make docs -->\n", "<!-- end of entities -->\n"


def keys(table: Table) -> list[str]:
    """Lines `type name marks "comment"` of the columns that identify a row or lead to another."""
    unique = {c.name for u in table.constraints if isinstance(u, UniqueConstraint) for c in u.columns}

    def marks(column: Column[object]) -> str:
        found = ["PK"] * column.primary_key + ["FK"] * bool(column.foreign_keys) + ["UK"] * (column.name in unique)
        return ", ".join(found)

    lines = []
    for column in table.columns:
        if marks(column):
            kind = str(column.type).lower().replace(" ", "_")
            lines.append(f"        {kind} {column.name} {marks(column)}")
    return lines


def references(table: Table) -> list[str]:
    """Lines `one ||--o{ many : column`, one for each foreign key."""
    lines = []
    for constraint in sorted(table.foreign_key_constraints, key=lambda key: key.column_keys):
        optional = any(table.c[name].nullable for name in constraint.column_keys)
        left = "|o" if optional else "||"
        lines.append(f'    {constraint.referred_table.name} {left}--o{{ {table.name} : "{constraint.column_keys[0]}"')
    return lines


def diagram() -> str:
    """The whole record, Mermaid's erDiagram in a fence."""
    lines = ["```mermaid", "erDiagram"]
    for table in metadata.sorted_tables:
        lines += [f"    {table.name} {{", *keys(table), "    }"]
    for table in metadata.sorted_tables:
        lines += references(table)
    return "\n".join([*lines, "```"]) + "\n"


def page(text: str) -> str:
    """docs/record.md with the diagram of today's tables between its marks."""
    before, rest = text.split(START)
    return before + START + diagram() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
