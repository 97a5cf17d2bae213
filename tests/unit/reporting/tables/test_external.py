"""Other data: the side-by-side table, and what a reader must know of the other set."""

from dataclasses import replace

import polars as pl

from lesionlens.reporting.page import render
from lesionlens.reporting.tables.external import external, notes
from tests.report_data import build, rare


def test_both_sets_and_their_difference_stand_in_one_row_in_the_order_of_the_measures() -> None:
    data = build(per_class=2)
    assert external(data) == () and 'id="external"' not in render(data).page
    shown = replace(data, frames=data.frames | {"external": rare("external")})
    (table,) = external(shown)
    first, second = table.texts()
    assert [row["Score"] for row in (first, second)] == ["accuracy", "LL score"]
    values = [text for head, text in first.items() if head.startswith(("Own test split", "Other data", "Difference"))]
    assert [text[:4] for text in values] == ["0.75", "0.50", "0.25"]
    page = render(shown)
    assert 'id="external"' in page.page and "tables/external-9.csv" in page.files


def test_shared_images_left_out_samples_and_missing_classes_are_said() -> None:
    row = rare("external").row(0, named=True)
    said = notes(row)
    assert len(said) == 4 and "no external validation" in said[0] and "MC" in said[2]
    clean = {"is_external": True, "shared_images": 0, "shared_patients": 0, "left_out": 0, "missing_classes": []}
    assert notes(row | clean) == said[3:]


def test_a_run_that_was_not_selected_is_shown_too() -> None:
    data = build(per_class=2)
    runs = set(data.frames["table_2_accuracy"]["run_id"]) - set(data.frames["selected_runs"]["run_id"])
    for run in runs or {1}:
        frame = rare("external").with_columns(run_id=pl.lit(run))
        (table,) = external(replace(data, frames=data.frames | {"external": frame}))
        assert len(table) == 2
