"""What lies beside the page: every table as CSV, Tables I to IV as LaTeX, every figure as SVG."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from lesionlens.reporting.charts.style import Chart
from lesionlens.reporting.formatting import DASH, MINUS
from lesionlens.reporting.tables.spec import Cell, Column, Table

LATEX = ("table-1", "table-2", "table-3", "table-4")
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", MINUS: "$-$", DASH: "--", "×": r"$\times$",
    "\u00a0": "~", "\u202f": r"\,",
}  # fmt: skip


def exports(context: dict[str, Any]) -> dict[str, str]:
    """Files by relative path, from what the page shows (`page.context`)."""
    shown = list(_walk(context.values()))
    tables = {item.name: item for item in shown if isinstance(item, Table)}
    charts = {item.name: item for item in shown if isinstance(item, Chart)}
    files = {f"tables/{name}.csv": as_csv(table) for name, table in tables.items() if table.rows}
    files |= {f"tables/{name}.tex": as_latex(tables[name]) for name in LATEX if name in tables}
    return files | {f"figures/{name}.svg": chart.alone for name, chart in charts.items()}


def _walk(values: Any) -> Any:
    for value in values:
        if isinstance(value, Table | Chart):
            yield value
        elif isinstance(value, tuple):
            yield from _walk(value)


def as_csv(table: Table) -> str:
    """Comma-separated values with a head; a cell's second and third line get columns of their own where any row has
    them.

    Numbers have an ASCII minus and a missing one is empty. A text that a spreadsheet would take for a formula gets an
    apostrophe in front.
    """
    doubled = [any(row.cells[n].small for row in table.rows) for n in range(len(table.columns))]
    lines = [[name for column, two in zip(table.columns, doubled, strict=True) for name in _csv_heads(column, two)]]
    for row in table.rows:
        line: list[str] = []
        for column, cell, two in zip(table.columns, row.cells, doubled, strict=True):
            texts = [cell.text, cell.small, cell.third][: 3 if column.third else 2 if two else 1]
            line += [_ascii(text) if column.numeric else _harmless(text) for text in texts]
        lines.append(line)
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(lines)
    return stream.getvalue()


def _csv_heads(column: Column, two: bool) -> list[str]:
    whole = " ".join([column.text, column.small]).strip()
    if column.third:
        return [whole, f"{column.text}: interval", f"{column.text}: {column.third}"]
    return [column.text, f"{column.text}: {column.small or 'detail'}"] if two else [whole]


def _ascii(text: str) -> str:
    text = text.replace(MINUS, "-").replace("\u202f", "").replace("\u00a0", " ")
    plain = "" if text == DASH else text.replace(DASH, " to ")
    return plain if re.fullmatch(r"[+-]?[\d. %()a-z<]*|.*\d to .*", plain) else _harmless(plain)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def as_latex(table: Table) -> str:
    """A `table` environment for booktabs, never wider than the text; a cell's second line is a second row.

    Notes stand below in small print.
    """
    columns = "".join("r" if column.numeric else "l" for column in table.columns)
    body = [line for row in table.rows for line in _two_lines(row.cells)]
    notes = [rf"\item {escaped(note)}" for note in table.notes]
    below = [r"\begin{itemize}\footnotesize", *notes, r"\end{itemize}"] if notes else []
    lines = [
        r"% needs \usepackage{booktabs} and \usepackage{graphicx}", r"\begin{table}", r"\centering",
        rf"\caption{{{escaped(table.caption)}}}", rf"\label{{tab:{table.name}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%", rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule", *_two_lines(table.columns), r"\midrule", *body, r"\bottomrule", r"\end{tabular}}", *below,
        r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _two_lines(cells: Sequence[Cell | Column]) -> list[str]:
    """A row of a LaTeX table, and the cells' second lines below it where any has one."""
    first = " & ".join(escaped(cell.text) for cell in cells)
    second = " & ".join(rf"\footnotesize {escaped(cell.small)}" if cell.small else "" for cell in cells)
    return [rf"{first} \\", rf"{second} \\[3pt]"] if any(cell.small for cell in cells) else [rf"{first} \\"]


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is; line breaks become spaces."""
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split("\n")))
