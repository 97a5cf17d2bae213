"""Other data: the side-by-side table, and what a reader must know of the other set."""

from dataclasses import replace

import polars as pl
import pytest

from lesionlens.reporting.data import shown
from lesionlens.reporting.page import render
from lesionlens.reporting.tables.external import breasts_between, external, notes
from tests.report_data import build, rare


def test_both_sets_and_their_difference_stand_in_one_row_in_the_order_of_the_measures() -> None:
    data = build(per_class=2)
    assert external(data) == () and 'id="external"' not in render(data).page
    given = replace(data, frames=data.frames | {"external": rare("external")})
    (table,) = external(given)
    first, second = table.texts()
    assert [row["Score"] for row in (first, second)] == ["accuracy", "LL score"]
    values = [text for head, text in first.items() if head.startswith(("Own test split", "Other data", "Difference"))]
    assert [text[:4] for text in values] == ["0.75", "0.50", "0.25"]
    page = render(given)
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


def test_breasts_of_two_studies_are_paired_whatever_their_samples_are() -> None:
    one = build(per_class=2)
    scores = rare("breast_scores")
    one = replace(one, frames=one.frames | {"breast_scores": scores})
    worse = scores.with_columns(score=1 - pl.col("score"))
    other = replace(
        one, study=one.study | {"id": 2, "sample_set_digest": "00"}, frames=one.frames | {"breast_scores": worse}
    )
    parts = [
        (data, name, [of for of in shown(data) if of.run_id == 1]) for data, name in ((one, "one"), (other, "two"))
    ]
    [row] = breasts_between(parts).frame.to_dicts()
    assert row["n"] == 24 and row["value_a"] == pytest.approx(1 - row["value_b"])
    assert row["low"] <= row["difference"] <= row["high"]
    [same] = breasts_between([parts[0], (one, "again", parts[0][2])]).frame.to_dicts()
    assert same["difference"] == same["low"] == same["high"] == 0
    nothing = replace(other, frames=other.frames | {"breast_scores": worse.clear()})
    assert breasts_between([parts[0], (nothing, "none", parts[0][2])]).frame.is_empty()
