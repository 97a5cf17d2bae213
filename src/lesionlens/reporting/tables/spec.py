"""A table as a frame and its columns: one specification gives HTML (by the template `tables.html`), CSV and LaTeX."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import polars as pl

from lesionlens.reporting.formatting import DASH, MINUS, count, interval, number, proportion, term, worded

FORMULA = r"^[=+\-@\t\r]"
"""Texts that a spreadsheet would take for a formula."""
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", MINUS: "$-$", DASH: "--", "×": r"$\times$",
    "\u00a0": "~", "\u202f": r"\,",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as written: its text, smaller lines below it, its CSS class, and the shade (0 to 1) of its ground.

    link: the gallery's filters that show its samples, see `in_gallery`; '' for none.
    """

    text: str
    lines: tuple[str, ...] = ()
    mark: str = ""
    shade: float | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, the columns of the frame that it shows, and how their values are written.

    small: second line of the head. numeric: aligned right. mark: CSS class of the cells, only where the boolean
    column `where` of the frame is true if one is named. link: the filters of the gallery for a row.
    """

    head: str
    fields: tuple[str, ...]
    write: Callable[..., Cell]
    small: str = ""
    numeric: bool = True
    mark: str = ""
    where: str = ""
    link: Callable[[dict[str, Any]], str] | None = None

    def cell(self, row: dict[str, Any]) -> Cell:
        written = self.write(*(row[name] for name in self.fields))
        marked = self.mark and written.text != DASH and (not self.where or row[self.where])
        link = self.link(row) if self.link else ""
        return replace(written, mark=self.mark if marked else written.mark, link=link)


@dataclass(frozen=True, slots=True)
class Line:
    """A row as written. mark: '', 'published' or 'total'; series: its model's place in the colour order, if any."""

    cells: tuple[Cell, ...]
    mark: str
    series: int | None


@dataclass(frozen=True, slots=True, eq=False)
class TableSpec:
    """A captioned table with notes and the queries that gave its frame.

    Columns in which every cell is a dash are left out, but not of the CSV. The frame may hold `series` (int) and
    `mark` (str) beside what the columns show, see Line. KeyError where it lacks a column that a Column names.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    frame: pl.DataFrame = field(repr=False)
    notes: tuple[str, ...] = ()
    sql: str = ""

    def __post_init__(self) -> None:
        missing = [name for name in self._fields() if name not in self.frame.columns]
        if missing:
            raise KeyError(f"table {self.name!r} has no {', '.join(missing)}; it has {', '.join(self.frame.columns)}")

    def __len__(self) -> int:
        return self.frame.height

    @property
    def filled(self) -> tuple[Column, ...]:
        """The columns with any value; all of them in a table without rows."""
        first, *others = self.columns
        found = self.frame.to_dicts()
        return (first, *(c for c in others if not found or any(c.cell(row) != Cell(DASH) for row in found)))

    @property
    def rows(self) -> Iterator[Line]:
        columns = self.filled
        for row in self.frame.iter_rows(named=True):
            yield Line(tuple(column.cell(row) for column in columns), row.get("mark") or "", row.get("series"))

    def csv(self) -> str:
        """The frame's values as they are, null as nothing; texts that look like a formula begin with an apostrophe."""
        harmless = pl.col(pl.String).str.replace(FORMULA, "'${0}")
        return self.frame.select(self._fields()).with_columns(harmless).write_csv()

    def latex(self) -> str:
        """A `table` environment for booktabs, no wider than the text; further lines of a cell are further rows."""
        heads = [Cell(column.head, (column.small,) if column.small else ()) for column in self.filled]
        notes = [rf"\item {escaped(note)}" for note in self.notes]
        below = [r"\begin{itemize}\footnotesize", *notes, r"\end{itemize}"] if notes else []
        lines = [
            r"% needs \usepackage{booktabs} and \usepackage{graphicx}", r"\begin{table}", r"\centering",
            rf"\caption{{{escaped(self.caption)}}}", rf"\label{{tab:{self.name}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in self.filled)}}}",
            r"\toprule", *_latex(heads), r"\midrule", *(text for row in self.rows for text in _latex(row.cells)),
            r"\bottomrule", r"\end{tabular}}", *below, r"\end{table}",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def worded(self, one: str, several: str) -> "TableSpec":
        """The table with these words for a patch and for patches."""

        def said(words: str) -> str:
            return worded(words, one, several)

        def cells(write: Callable[..., Cell]) -> Callable[..., Cell]:
            return lambda *values: replace(
                cell := write(*values), text=said(cell.text), lines=tuple(map(said, cell.lines))
            )

        columns = tuple(replace(c, head=said(c.head), small=said(c.small), write=cells(c.write)) for c in self.columns)
        return replace(self, caption=said(self.caption), notes=tuple(map(said, self.notes)), columns=columns)

    def texts(self) -> list[dict[str, str]]:
        """The rows as written, by head; second lines in brackets."""
        heads = [_in_brackets(column.head, column.small) for column in self.filled]
        lines = [[_in_brackets(cell.text, *cell.lines) for cell in row.cells] for row in self.rows]
        return [dict(zip(heads, line, strict=True)) for line in lines]

    def _fields(self) -> list[str]:
        return list(dict.fromkeys(name for column in self.columns for name in column.fields))


def in_gallery(**filters: Any) -> str:
    """The query of a link to the gallery, by the names of its filters; what is None does not filter."""
    return urlencode({name: value for name, value in filters.items() if value is not None})


def text(
    head: str, name: str, *below: str, terms: dict[str, str] | None = None, small: str = "", **options: Any
) -> Column:
    """A text by its term, with the columns `below` as smaller lines; a dash for null."""

    def write(value: str | None, *lines: str | None) -> Cell:
        words = DASH if value is None else str(value) if terms is None else term(value, terms)
        return Cell(words, tuple(filter(None, lines)))

    return Column(head, (name, *below), write, small, **{"numeric": False} | options)


def model(head: str = "Base model", *below: str) -> Column:
    """The model's title; CSVs also hold the run's number."""
    column = text(head, "run_id", "model", *below)
    return Column(head, column.fields, lambda _, *texts: column.write(*texts), numeric=False)


def whole(head: str, name: str, small: str = "", signed: bool = False, **options: Any) -> Column:
    """A whole number, with its sign where `signed`."""

    def write(value: int | None) -> Cell:
        sign = "" if not signed or not value else "+" if value > 0 else MINUS
        return Cell(sign + count(None if value is None else abs(value) if signed else value))

    return Column(head, (name,), write, small, **options)


def decimal(head: str, name: str, digits: int = 2, small: str = "", **options: Any) -> Column:
    """A number without an interval."""
    return Column(head, (name,), lambda value: Cell(number(value, digits)), small, **options)


def estimate(
    head: str, name: str, bounds: Sequence[str] = (), digits: int = 2, signed: bool = False, small: str = "",
    **options: Any,
) -> Column:  # fmt: skip
    """A number with its interval below it, of the columns `bounds` or `{name}_low` and `{name}_high`."""

    def write(value: float | None, low: float | None, high: float | None) -> Cell:
        return Cell(number(value, digits, signed), tuple(filter(None, [interval(low, high, digits)])))

    return Column(head, (name, *(bounds or (f"{name}_low", f"{name}_high"))), write, small, **options)


def counts(head: str, name: str, small: str = "", **options: Any) -> Column:
    """A number of samples `{name}_n`, and below it the proportion `name` in per cent with its interval."""

    def write(n: int | None, *values: float | None) -> Cell:
        return Cell(count(n or 0), tuple(filter(None, [proportion(*values)])))

    return Column(head, (f"{name}_n", name, f"{name}_low", f"{name}_high"), write, small, **options)


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is; line breaks become spaces."""
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split("\n")))


def _latex(cells: Sequence[Cell]) -> list[str]:
    """A row of a LaTeX table, and below it the cells' further lines."""
    further = range(max(len(cell.lines) for cell in cells))
    lines = [[escaped(cell.text) for cell in cells]]
    lines += [
        [rf"\footnotesize {escaped(cell.lines[n])}" if n < len(cell.lines) else "" for cell in cells] for n in further
    ]
    return [f"{' & '.join(line)} \\\\" for line in lines[:-1]] + [
        f"{' & '.join(lines[-1])} \\\\{'[3pt]' if len(lines) > 1 else ''}"
    ]


def _in_brackets(first: str, *more: str) -> str:
    further = "; ".join(filter(None, more))
    return f"{first} ({further})" if further else first
