"""Files beside the page: read back by independent readers."""

import csv
import dataclasses
import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import polars as pl
import pytest

from lesionlens.reporting.page import render
from lesionlens.reporting.tables.files import as_csv, as_latex, escaped
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def files(make_data):
    return render(make_data()).files


def test_every_table_and_figure_has_its_file(files):
    names = set(files)
    assert {f"tables/table-{n}.{kind}" for n in (1, 2, 3, 4) for kind in ("csv", "tex")} <= names
    assert {"tables/erase.csv", "tables/confusion-1.csv", "figures/forest.svg", "figures/roc-1.svg"} <= names


def test_csv_reads_back_as_rectangles_of_numbers(files):
    for name in (name for name in files if name.endswith(".csv")):
        lines = list(csv.reader(io.StringIO(files[name])))
        assert len({len(line) for line in lines}) == 1 and len(lines) > 1, name
    table = list(csv.DictReader(io.StringIO(files["tables/table-4.csv"])))
    own = [row for row in table if row["Lesions classified correctly"]]
    assert len(own) == 4 and all(0 <= float(row["LL score"]) <= 1 for row in own)
    assert all(re.fullmatch(r"0\.\d\d to 0\.\d\d", row["LL score: 95\u00a0% interval"]) for row in own)


def test_confusions_of_csv_have_intervals_and_counts(files, make_data):
    table = list(csv.DictReader(io.StringIO(files["tables/confusion-1.csv"])))
    cells = make_data().frames["confusion_matrix"].filter(run_id=1, true_ordinal=1, predicted_ordinal=1).to_dicts()
    (cell,) = cells
    row = table[1]
    name = next(key for key in row if key.startswith(f"{cell['true_code']} "))
    assert row[name] == f"{cell['row_fraction']:.2f}" and row[f"{cell['true_code']}: patches"] == str(cell["count"])
    assert row[f"{cell['true_code']}: interval"] == f"{cell['low']:.2f} to {cell['high']:.2f}"
    report = list(csv.DictReader(io.StringIO(files["tables/classes-1.csv"])))
    assert next(row["Recall: 95\u00a0% interval"] for row in report) == "0.65 to 0.78"


def test_signs_are_ascii_and_formulas_stay_text():
    columns = (Column("name", numeric=False), Column("difference"))
    rows = (TableRow((Cell("=1+1"), Cell("−0.10", "−0.20 to 0.01"))), TableRow((Cell("-x"), Cell("+0.30"))))
    text = as_csv(Table("t", "T", "c", columns, rows))
    assert text.splitlines() == ["name,difference,difference: detail", "'=1+1,-0.10,-0.20 to 0.01", "'-x,+0.30,"]


def test_latex_escapes_what_it_would_run():
    hostile = "50% & \\input{x} $a_b^c$ ~#{}"
    text = escaped(hostile)
    assert re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}|\\[%&#${}_]", "", text).isascii()
    assert not re.search(r"(?<!\\)[%&#$_^]", text.replace("$-$", ""))
    table = Table("t", "T", hostile, (Column("a", numeric=False), Column("b")), (TableRow((Cell(hostile), Cell("1"))),))
    lines = as_latex(table).splitlines()
    assert lines.count(r"\toprule") == lines.count(r"\midrule") == lines.count(r"\bottomrule") == 1
    assert [line.count(" & ") for line in lines if line.endswith(r"\\")] == [1, 1]


def test_second_lines_and_notes_of_latex_stand_below():
    columns = (Column("a", numeric=False), Column("b", small="interval"))
    table = Table("t", "T", "c", columns, (TableRow((Cell("x"), Cell("0.5", "0.4–0.6"))),), ("50 % of it",))
    text = as_latex(table)
    assert "a & b \\\\\n & \\footnotesize interval \\\\[3pt]\n" in text
    assert "x & 0.5 \\\\\n & \\footnotesize 0.4--0.6 \\\\[3pt]\n" in text
    assert "\\item 50 \\% of it" in text and text.index("itemize") > text.index("tabular}}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_compiles_and_stays_inside_the_page(files, tmp_path):
    for n in (1, 2, 3, 4):
        (tmp_path / f"table-{n}.tex").write_text(files[f"tables/table-{n}.tex"], encoding="utf-8")
    inputs = "".join(rf"\input{{table-{n}}}\clearpage" for n in (1, 2, 3, 4))
    packages = r"\documentclass{article}\usepackage{booktabs}\usepackage{graphicx}"
    (tmp_path / "all.tex").write_text(rf"{packages}\begin{{document}}{inputs}\end{{document}}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert ran.returncode == 0 and "Overfull" not in ran.stdout, ran.stdout[-2000:]


def test_latex_tables_keep_their_columns(files):
    for n in (1, 2, 3, 4):
        text = files[f"tables/table-{n}.tex"]
        columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
        assert columns is not None
        lines = [line for line in text.splitlines() if line.endswith(("\\\\", "[3pt]"))]
        cells = [len(re.split(r"(?<!\\)&", line)) for line in lines]
        assert set(cells) == {len(columns.group(1))}


def test_figures_stand_alone(files):
    for name in (name for name in files if name.endswith(".svg")):
        tree = ElementTree.fromstring(files[name])
        assert tree.tag == f"{SVG}svg" and tree.find(f"{SVG}title") is not None
        assert "var(" not in files[name]


def test_hostile_labels_stay_text(make_data):
    data = make_data(per_class=2)
    labels = data.frames["labels"].with_columns(name=pl.lit("</title><script>x</script>"))
    found = render(dataclasses.replace(data, frames=data.frames | {"labels": labels})).files
    for name in (name for name in found if name.endswith(".svg")):
        assert not list(ElementTree.fromstring(found[name]).iter(f"{SVG}script"))


def test_scores_without_a_threshold_stand_beside_those_of_baselines(files):
    table = list(csv.DictReader(io.StringIO(files["tables/other-scores.csv"])))
    assert [row["Map"] for row in table] == ["Grad-CAM", "random weights", "centred disc"] * 4
    assert [row["Hit rate"] for row in table[:3]] == ["0.60", "0.20", "0.30"]


def test_a_difference_from_a_baseline_is_a_column_of_its_own(files):
    (row, *_) = csv.DictReader(io.StringIO(files["tables/baselines.csv"]))
    assert float(row["Whole patch LL, and difference"]) < float(row["LL score"])
    assert re.fullmatch(r"0\.\d\d to 0\.\d\d", row["Whole patch: interval"])
    assert re.fullmatch(r"(above|not told apart|below): [+-]\d\.\d\d \(.*\)", row["Whole patch: difference"])
