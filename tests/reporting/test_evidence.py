"""The checks beside the scores: tables and charts say what their rows say."""

import dataclasses

import polars as pl
import pytest

from lesionlens.reporting import figures_classification, figures_evidence, table_binary, table_evidence


def replaced(data, **frames):
    return dataclasses.replace(data, frames=data.frames | frames)


def test_quadrants_of_a_row_add_up_to_its_lesions(data):
    for row in table_evidence.quadrants(data).rows:
        assert sum(int(cell.text) for cell in row.cells[3:]) == int(row.cells[2].text)


@pytest.mark.parametrize(("low", "mark"), [(0.01, "good"), (-0.01, "open"), (None, "")])
def test_only_a_difference_above_zero_is_marked_good(data, low, mark):
    found = data.frames["erase_test"].with_columns(difference_low=pl.lit(low, pl.Float64))
    assert {row.cells[-1].mark for row in table_evidence.erase(replaced(data, erase_test=found)).rows} == {mark}


def test_a_shortcut_that_reaches_the_best_network_is_marked(data):
    marks = [row.cells[1].mark for row in table_evidence.shortcuts(data).rows]
    assert marks == ["", "", "", "", ""]
    found = data.frames["shortcut_audit"].with_columns(high=pl.lit(0.79))
    assert {row.cells[1].mark for row in table_evidence.shortcuts(replaced(data, shortcut_audit=found)).rows} == {"bad"}


def test_seeds_are_shown_where_there_are_several(data):
    assert not table_binary.spread_over_seeds(data).rows
    several = data.frames["seed_spread"].with_columns(seeds=pl.lit(3), lowest=pl.lit(0.6))
    rows = table_binary.spread_over_seeds(replaced(data, seed_spread=several)).rows
    assert [row.cells[1].text for row in rows] == ["3"] * 4
    assert rows[0].cells[2].small == "0.60–0.70"


def test_a_roc_curve_keeps_its_corners_only():
    points = [(0.0, 0.0), (0.0, 0.5), (0.0, 1.0), (0.5, 1.0), (1.0, 1.0)]
    assert figures_classification._staircase(points) == [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]


def test_charts_name_their_classes_steps_and_bands(data):
    roc = figures_classification.roc_curves(data)[0]
    assert [line.label.split()[0] for line in roc.lines[1:]] == ["B", "BC", "BM", "MC", "MM"]
    steps = figures_evidence.randomisation(data)[0]
    assert {line.label for line in steps.lines} == {"SSIM", "rank", "chance"}
    assert "0.18" in steps.summary and "0.21" in steps.summary
    assert [text.text for text in figures_evidence.by_mask_fraction(data)[0].texts] == ["0–5", "5–10", "10–20"]
    assert len(figures_classification.reliability(data)[0].dots) == 8  # two of ten bins are empty


def test_without_checks_there_is_nothing_to_draw(data):
    empty = {name: data.frames[name].clear() for name in ("erase_test", "weight_randomisation", "stratum_scores")}
    none = replaced(data, **empty)
    assert figures_evidence.erase_chart(none) is None
    assert figures_evidence.randomisation(none) == figures_evidence.by_mask_fraction(none) == ()
    assert table_evidence.strata(none) == ()
