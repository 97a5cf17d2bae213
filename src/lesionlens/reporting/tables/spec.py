"""A table as data: the template only writes it down."""

from dataclasses import dataclass

from lesionlens.reporting.formatting import DASH, interval, number


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its text, a smaller second line, how it is marked, and a third line."""

    text: str
    small: str = ""
    mark: str = ""
    share: float | None = None
    third: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column head; `small` is its second line. `numeric` columns are aligned right. `third` says what the third line
    of its cells is, the second being an interval."""

    text: str
    numeric: bool = True
    small: str = ""
    third: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row; the first cell is the row's head. `mark`: '' or 'published' or 'total'."""

    cells: tuple[Cell, ...]
    mark: str = ""
    series: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A captioned table with notes and the query that gives its numbers from the record."""

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()
    sql: str = ""


def class_words(code: str, name: str) -> tuple[str, str]:
    """A class's code, and below it its name where that says more; own data sets have one word for both."""
    return code, name if name != code else ""


def scored(value: float | None, low: float | None, high: float | None, mark: str = "", digits: int = 2) -> Cell:
    """A score with its interval on the second line."""
    return Cell(number(value, digits), interval(low, high, digits), mark)


def plain_number(value: float | None, digits: int = 2, mark: str = "") -> Cell:
    """A number without interval."""
    return Cell(number(value, digits), mark=mark)


def difference(ours: float | None, low: float | None, high: float | None, theirs: float | None) -> Cell:
    """Ours minus theirs, signed, with our interval moved by as much; theirs is taken as exact."""
    if ours is None or theirs is None:
        return Cell(DASH)
    moved = "" if low is None or high is None else interval(low - theirs, high - theirs)
    return Cell(number(ours - theirs, signed=True), moved)
