"""The checks beside the scores: tables say what their rows say."""

import dataclasses

import polars as pl
import pytest

from lesionlens.reporting.tables import binary, evidence


def replaced(data, **frames):
    return dataclasses.replace(data, frames=data.frames | frames)


def test_quadrants_of_a_row_add_up_to_its_lesions(data):
    for row in evidence.quadrants(data).rows:
        assert sum(int(cell.text) for cell in row.cells[3:]) == int(row.cells[2].text)


def test_right_while_looking_elsewhere_is_marked_where_it_happens(data):
    found = data.frames["quadrants"].with_columns(n=pl.when(pl.col("code") == "BC").then(0).otherwise(pl.col("n")))
    rows = evidence.quadrants(replaced(data, quadrants=found)).rows
    marks = {(row.cells[1].text == "benign calcification", *(cell.mark for cell in row.cells[3:])) for row in rows}
    assert marks == {(True, "", "", "", ""), (False, "", "bad", "", "")}


def test_shares_of_quadrants_have_their_intervals(data):
    found = data.frames["quadrants"].with_columns(share=pl.lit(0.424), low=pl.lit(0.33), high=pl.lit(0.508))
    rows = evidence.quadrants(replaced(data, quadrants=found)).rows
    assert {cell.small for row in rows for cell in row.cells[3:]} == {"42\u00a0%\u00a0(33–51\u00a0%)"}
    alone = found.with_columns(low=None, high=None)
    rows = evidence.quadrants(replaced(data, quadrants=alone)).rows
    assert {cell.small for row in rows for cell in row.cells[3:]} == {"42\u00a0%"}


def test_where_a_model_looks_stands_beside_where_random_weights_look(data):
    key = data.frames["run_scores"].filter(name="hit_rate", method="grad_cam", target="predicted").head(1)
    hits = [
        key.with_columns(
            run_id=pl.lit(2, pl.Int64), population=pl.lit("lesions"), method=pl.lit(method), value=pl.lit(value)
        )
        for method, value in (("grad_cam", 0.6), ("random_weights", 0.55))
    ]
    scores = data.frames["run_scores"].filter(pl.col("population") != "lesions")
    rows = evidence.quadrants(replaced(data, run_scores=pl.concat([scores, *hits]))).rows
    assert {(row.cells[2].small, row.cells[2].third) for row in rows if row.cells[1].text != "all lesions"} == {
        ("", "")
    }
    cells = [row.cells[2] for row in rows if row.cells[1].text == "all lesions"]
    assert [(cell.small, cell.third) for cell in cells] == [
        ("", ""),
        ("map looks at 60\u00a0%\u00a0(50–70\u00a0%)", "by chance 55\u00a0%\u00a0(50–70\u00a0%)"),
        ("", ""),
        ("", ""),
    ]


@pytest.mark.parametrize(("low", "mark"), [(0.01, "good"), (-0.01, "open"), (None, "")])
def test_only_a_difference_above_zero_is_marked_good(data, low, mark):
    found = data.frames["occlusion_test"].with_columns(difference_low=pl.lit(low, pl.Float64))
    assert {row.cells[-1].mark for row in evidence.erase(replaced(data, occlusion_test=found)).rows} == {mark}


def test_shortcuts_are_measured_by_the_networks_shown(data):
    """Of all runs the highest would have been chosen by the test split."""
    found = data.frames["table_2_accuracy"].with_columns(
        accuracy=0.5 + 0.1 * pl.col("run_id"), low=pl.lit(0.4), high=pl.lit(0.95)
    )
    audit = data.frames["shortcut_audit"].with_columns(high=pl.lit(0.79), highest_model_accuracy=pl.lit(0.9))
    few = data.frames["selected_runs"].filter(pl.col("run_id") < 3)
    part = replaced(data, table_2_accuracy=found, shortcut_audit=audit, selected_runs=few)
    table = evidence.shortcuts(part)
    assert {cell.text for row in table.rows for cell in row.cells[2:]} == {"0.60", "0.70"}
    assert {cell.small for row in table.rows for cell in row.cells[2:]} == {"0.40–0.95"}
    assert {row.cells[1].mark for row in table.rows} == {"bad"}
    assert "60 patches" in table.notes[0]
    below = replaced(part, shortcut_audit=audit.with_columns(high=pl.lit(0.69)))
    assert {row.cells[1].mark for row in evidence.shortcuts(below).rows} == {""}
    nobody = replaced(part, table_2_accuracy=found.clear())
    assert {(row.cells[1].mark, row.cells[2].text) for row in evidence.shortcuts(nobody).rows} == {("", "–")}


def test_malignancy_is_asked_of_lesions_and_says_so(data):
    table = binary.binary(data)
    asked = [row.cells[1].text for row in table.rows[:2]]
    assert asked == ["lesion or background?", "malignant or benign, given that it is a lesion?"]
    assert "among the lesion classes alone" in table.notes[1]
    own = replaced(data, binary_scores=data.frames["binary_scores"].filter(side="lesion"))
    assert binary.binary(own).notes == table.notes[:1]  # own classes may know no malignancy


def test_seeds_are_shown_where_there_are_several(data):
    assert not binary.spread_over_seeds(data).rows
    several = data.frames["seed_spread"].with_columns(seeds=pl.lit(3), lowest=pl.lit(0.6))
    rows = binary.spread_over_seeds(replaced(data, seed_spread=several)).rows
    assert [row.cells[1].text for row in rows] == ["3"] * 4
    assert rows[0].cells[2].small == "0.60–0.70"


def test_without_subgroups_there_is_no_table(data):
    assert evidence.subgroups(replaced(data, subgroup_scores=data.frames["subgroup_scores"].clear())) == ()
