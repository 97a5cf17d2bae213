"""A table's HTML cells, CSV and LaTeX come from its frame and columns; CSV and LaTeX are read back."""

import csv
import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import polars as pl
import pytest

from lesionlens.reporting.page import LATEX
from lesionlens.reporting.tables.spec import (
    Cell,
    TableSpec,
    counts,
    decimal,
    escaped,
    estimate,
    model,
    text,
    whole,
)

FRAME = pl.DataFrame({
    "run_id": [1, 2], "model": ["VGG16", "=1+1"], "code": ["a_b", None], "n": [1200, -3], "ll": [0.5, None],
    "low": [0.4, None], "high": [0.625, None], "p": [0.25, 0.0], "p_low": [0.1, None], "p_high": [0.4, None],
    "p_n": [12, None], "chosen": [True, False], "series": [3, None], "mark": [None, "total"],
})  # fmt: skip


def spec(*columns, **options):
    return TableSpec("t", "T", "c", columns, FRAME, **options)


WHOLE = spec(
    model(),
    text("Code", "code", terms={"a_b": "A or B"}),
    whole("n", "n", signed=True),
    estimate("LL", "ll", ("low", "high"), small="95 % CI", mark="strong", where="chosen"),
    decimal("LL", "ll", 3),
    counts("p", "p"),
    notes=("50 % of it",),
)


def test_cells_are_written_as_their_columns_say():
    first, second = WHOLE.rows
    assert first.cells == (
        Cell("VGG16"),
        Cell("A or B"),
        Cell("+1\u202f200"),
        Cell("0.50", ("0.40–0.62",), "strong"),
        Cell("0.500"),
        Cell("12", ("25\u00a0%\u00a0(10–40\u00a0%)",)),
    )
    assert [cell.text for cell in second.cells] == ["=1+1", "–", "−3", "–", "–", "0"]
    assert (first.series, first.mark, second.series, second.mark) == (3, "", None, "total")
    assert second.cells[3].mark == ""


def test_csv_holds_the_frame_s_values():
    rows = list(csv.DictReader(io.StringIO(WHOLE.csv())))
    assert list(rows[0]) == ["run_id", "model", "code", "n", "ll", "low", "high", "p_n", "p", "p_low", "p_high"]
    assert [float(rows[0][name]) for name in ("n", "ll", "low", "high", "p")] == [1200, 0.5, 0.4, 0.625, 0.25]
    assert (rows[0]["code"], rows[1]["code"], rows[1]["ll"]) == ("a_b", "", "")


def test_a_formula_stays_text_and_a_number_a_number():
    rows = list(csv.DictReader(io.StringIO(WHOLE.csv())))
    assert (rows[1]["model"], rows[1]["n"]) == ("'=1+1", "-3")


def test_a_column_that_the_frame_lacks_is_named():
    with pytest.raises(KeyError, match="table 't' has no nothing"):
        spec(decimal("x", "nothing"))


def test_texts_put_second_lines_in_brackets():
    assert spec(model(), estimate("LL", "ll", ("low", "high"), small="CI")).texts() == [
        {"Base model": "VGG16", "LL (CI)": "0.50 (0.40–0.62)"},
        {"Base model": "=1+1", "LL (CI)": "–"},
    ]


def test_latex_escapes_what_it_would_run():
    hostile = "50% & \\input{x} $a_b^c$ ~#{}"
    found = escaped(hostile)
    assert re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}|\\[%&#${}_]", "", found).isascii()
    assert not re.search(r"(?<!\\)[%&#$_^]", found.replace("$-$", ""))


def test_second_lines_and_notes_of_latex_stand_below():
    found = WHOLE.latex()
    assert "& 0.50 & 0.500 & 12 \\\\\n" in found and "& \\footnotesize 0.40--0.62 &  & " in found
    assert r"\item 50 \% of it" in found and found.index("itemize") > found.index("tabular}}")
    assert [found.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_latex_tables_keep_their_columns(rendered):
    for name in LATEX:
        found = rendered.files[f"tables/{name}.tex"]
        columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", found)[1]
        lines = [line for line in found.splitlines() if line.endswith(("\\\\", "[3pt]"))]
        assert {len(re.split(r"(?<!\\)&", line)) for line in lines} == {len(columns)}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_compiles_and_stays_inside_the_page(rendered, tmp_path):
    for name in LATEX:
        (tmp_path / f"{name}.tex").write_text(rendered.files[f"tables/{name}.tex"], encoding="utf-8")
    inputs = "".join(rf"\input{{{name}}}\clearpage" for name in LATEX)
    packages = r"\documentclass{article}\usepackage{booktabs}\usepackage{graphicx}"
    (tmp_path / "all.tex").write_text(rf"{packages}\begin{{document}}{inputs}\end{{document}}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert ran.returncode == 0 and "Overfull" not in ran.stdout, ran.stdout[-2000:]


def test_every_csv_of_a_report_is_a_rectangle(rendered):
    for name in (name for name in rendered.files if name.endswith(".csv")):
        lines = list(csv.reader(io.StringIO(rendered.files[name])))
        assert len({len(line) for line in lines}) == 1 and len(lines) > 1, name


def test_figures_stand_alone(rendered):
    for name in (name for name in rendered.files if name.endswith(".svg")):
        assert ElementTree.fromstring(rendered.files[name]).tag == "{http://www.w3.org/2000/svg}svg"
