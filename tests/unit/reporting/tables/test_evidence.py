"""Tables of quadrants, occlusion test, shortcut audit and subgroups."""

from dataclasses import replace

import polars as pl
import pytest

from lesionlens.reporting.tables import evidence
from tests.report_data import rare


def test_quadrants_of_a_row_add_up_to_its_lesions(data):
    table = evidence.quadrants(data)
    counts = [f"{cell}_n" for cell in evidence.CELLS.values()]
    assert table.frame.select(pl.sum_horizontal(counts)).to_series().to_list() == table.frame["lesions"].to_list()
    (row,) = data.frames["quadrants"].filter(run_id=2, code="MM", correct=False, located=True).to_dicts()
    found = table.frame.filter(run_id=2, code="MM").row(0, named=True)
    assert (found["wrong_inside_n"], found["wrong_inside"]) == (row["n"], row["proportion"])


def test_correct_with_the_map_elsewhere_is_marked_where_it_happens(data, changed):
    table = evidence.quadrants(changed(data, quadrants={"n": pl.when(pl.col("code") == "BC").then(0).otherwise("n")}))
    marks = {
        (row.cells[1].text == "benign calcification", *(cell.mark for cell in row.cells[3:])) for row in table.rows
    }
    assert marks == {(True, "", "", "", ""), (False, "", "bad", "", "")}


def test_hit_rates_stand_beside_those_of_random_weights(data, changed):
    found = data.frames["threshold_free_scores"].filter(score="hit_rate", target="predicted", run_id=2)
    hits = found.with_columns(population=pl.lit("lesions"))
    table = evidence.quadrants(changed(data, threshold_free_scores=hits)).frame
    rates = table.filter(pl.col("map_hit_rate").is_not_null())
    assert rates.select("run_id", "code", "map_hit_rate", "random_hit_rate").rows() == [(2, "all", 0.6, 0.2)]


@pytest.mark.parametrize(("low", "mark"), [(0.01, "good"), (-0.01, "open"), (None, "")])
def test_only_a_difference_above_zero_is_marked_good(data, changed, low, mark):
    table = evidence.occlusion(changed(data, occlusion_test={"difference_low": pl.lit(low, pl.Float64)}))
    assert {row.cells[5].mark for row in table.rows} == {mark}
    assert [row.mark for row in table.rows][:3] == ["total", "", ""]


def test_grey_changes_and_lesions_without_a_control_stand_beside_the_fall(data, changed):
    fair = {"lesion_change": pl.when(group_name="mass").then(0.125).otherwise(0.04), "unfair": pl.lit(5)}
    table = evidence.occlusion(changed(data, occlusion_fairness=fair))
    by_group = {row.cells[1].text: [cell.text for cell in row.cells[6:]] for row in table.rows}
    assert by_group["mass"] == ["0.125", "0.030", "5"] and by_group["all"] == ["0.040", "0.030", "5"]
    without = evidence.occlusion(changed(data, occlusion_fairness=data.frames["occlusion_fairness"].clear()))
    assert len(table.filled) == 9 and len(without.filled) == 6, "columns without a value are left out"
    assert "lesion_change" in without.csv().splitlines()[0]


def test_shortcuts_are_measured_by_the_networks_shown(data, changed):
    """The best of all runs would have been selected on the test split."""
    networks = {"accuracy": 0.5 + 0.1 * pl.col("run_id"), "low": pl.lit(0.4), "high": pl.lit(0.95)}
    few = data.frames["selected_runs"].filter(pl.col("run_id") < 3)
    part = changed(data, table_2_accuracy=networks, shortcut_audit={"high": pl.lit(0.79)}, selected_runs=few)
    table = evidence.shortcuts(part)
    assert table.frame.select("weakest", "strongest", "strongest_high", "close").unique().rows() == [
        (0.6, 0.7, 0.95, True)
    ]
    assert "60 patches" in table.notes[0]
    below = changed(part, shortcut_audit={"high": pl.lit(0.69)})
    assert set(evidence.shortcuts(below).frame["close"]) == {False}
    nobody = changed(part, table_2_accuracy=data.frames["table_2_accuracy"].clear())
    assert {tuple(cell.mark for cell in row.cells[1:]) for row in evidence.shortcuts(nobody).rows} == {("",)}


def test_subgroups_hold_accuracy_of_all_and_ll_of_correct_lesions(data, changed):
    (table,) = evidence.subgroups(data)
    assert table.frame["level"].to_list() == ["0.00 to 0.05", "0.05 to 0.10", "0.10 to 0.20"] * 4
    assert table.frame.select("accuracy", "ll", "whole_patch").row(1) == (0.7, 0.3, 0.15)
    assert evidence.subgroups(changed(data, subgroup_scores=data.frames["subgroup_scores"].clear())) == ()


def test_transfer_shows_an_interval_where_there_are_enough_pairs_and_nothing_without_a_pair(data):
    assert evidence.transfer(data) is None
    known = replace(data, frames=data.frames | {name: rare(name) for name in ("transfer", "transfer_correlations")})
    table = evidence.transfer(known)
    assert table is not None and table.frame.height == 1
    few, enough, _ = table.notes
    assert "over 2 pairs" in few and "not shown" in few and "1.00" not in few
    assert "lift, over 12 pairs" in enough and "0.50 (\u22120.20 to 0.80)" in enough
