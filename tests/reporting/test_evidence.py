"""The checks beside the scores: tables and charts say what their rows say."""

import dataclasses
import math

import numpy as np
import polars as pl
import pytest

from lesionlens.reporting import (
    figures_classification,
    figures_evidence,
    figures_localization,
)
from lesionlens.reporting.tables import binary, evidence
from lesionlens.scoring.bootstrap import draw, interval, ratios


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


def test_a_roc_curve_keeps_its_corners_only():
    points = [(0.0, 0.0), (0.0, 0.5), (0.0, 1.0), (0.5, 1.0), (1.0, 1.0)]
    assert figures_classification._staircase(points) == [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]


def test_areas_under_the_curves_are_told_with_their_intervals(data):
    assert "benign mass 0.89 (0.84 to 0.93);" in figures_classification.roc_curves(data)[0].summary


def test_the_calibration_error_stands_beside_that_of_chance(data):
    sure = data.frames["sample_results"].with_columns(confidence=pl.lit(0.5))
    chart = figures_classification.reliability(replaced(data, sample_results=sure))[0]
    heads = 60 * math.comb(59, 30) / 2**60  # mean distance of 60 coins' number of heads from 30
    assert f"{heads / 60:.2f}" == "0.05"
    assert chart.summary == (
        "Expected calibration error 0.08 (0.05 to 0.12); chance alone gives a perfectly calibrated model 0.05 here."
    )
    none = replaced(data, calibration=data.frames["calibration"].clear())
    assert figures_classification.reliability(none)[0].summary == ""


def test_charts_name_their_classes_steps_and_bands(data):
    roc = figures_classification.roc_curves(data)[0]
    assert [line.label.split()[0] for line in roc.lines[1:]] == ["B", "BC", "BM", "MC", "MM"]
    chart = figures_evidence.by_mask_fraction(data)[0]
    assert [text.text for text in chart.texts] == ["0–5", "5–10", "10–20"]
    assert [line.kind for line in chart.lines] == ["interval", "baseline", "baseline"] * 3
    assert "centred disc: 0.05 (0.04 to 0.06)" in [dot.title for dot in chart.dots]
    assert len(figures_classification.reliability(data)[0].dots) == 8  # two of ten bins are empty


def randomised(data, **columns):
    frame = data.frames["weight_randomisation"].with_columns(**columns)
    return figures_evidence.randomisation(replaced(data, weight_randomisation=frame))[0]


def test_similarities_fall_to_their_own_level_of_chance_or_do_not(data):
    chart = randomised(data)
    labels = [line.label for line in chart.lines if line.label]
    assert labels == ["SSIM", "SSIM chance", "rank", "rank chance"]
    assert len({(line.kind, line.series) for line in chart.lines if line.label}) == 4
    assert [line.kind for line in chart.lines if not line.label] == ["baseline"] * 10
    level = {line.label: line.d for line in chart.lines}["rank chance"]
    assert level == f"M{chart.x.start:g} {chart.y(0.02):g} L{chart.x.end:g} {chart.y(0.02):g}"
    said = (
        "With every layer random, over 32 lesions: SSIM 0.18 (0.14 to 0.22), fallen to chance (0.21); "
        "rank correlation 0.08 (0.03 to 0.13), "
    )
    assert chart.summary == f"{said}still above chance (0.02)."
    assert randomised(data, rank_chance=pl.lit(0.04)).summary == f"{said}fallen to chance (0.04)."
    assert randomised(data, rank_chance=pl.lit(0.14)).summary == f"{said}fallen below chance (0.14)."
    assert "0.22), still above chance (0.13)" in randomised(data, ssim_chance=pl.lit(0.13)).summary


def test_similarities_of_one_patient_or_of_none_are_not_judged(data):
    nothing = pl.lit(None, pl.Float64)
    assert "which takes two patients; rank" in randomised(data, ssim_chance=nothing).summary
    alone = randomised(data, rank_low=nothing, rank_high=nothing)
    assert alone.summary.endswith("rank correlation 0.08, not to be told from chance, which takes two patients.")
    none = dict.fromkeys(("ssim", "ssim_low", "ssim_high", "rank_correlation", "rank_low", "rank_high"), nothing)
    assert "no lesion has a map that is not blank" in randomised(data, n=pl.lit(0), **none).summary


def test_without_checks_there_is_nothing_to_draw(data):
    empty = {name: data.frames[name].clear() for name in ("occlusion_test", "weight_randomisation", "subgroup_scores")}
    none = replaced(data, **empty)
    assert figures_evidence.occlusion_chart(none) is None
    assert figures_evidence.randomisation(none) == figures_evidence.by_mask_fraction(none) == ()
    assert evidence.subgroups(none) == ()


def test_threshold_curves_stand_beside_every_baseline_with_their_interval(data):
    charts = figures_localization.threshold_curves(data)
    head = data.frames["table_4_localization"].filter(run_id=1, headline=True).row(0, named=True)
    assert len(charts) == 4 and len({chart.y for chart in charts}) == 1
    labels = [line.label for line in charts[0].lines if line.label]
    assert labels == [
        f"patch {head['whole_patch']:.2f}",
        f"disc {head['centred_disc']:.2f}",
        f"mask {head['mean_mask']:.2f}",
        "random 0.15",
    ]
    assert [line.kind for line in charts[0].lines] == ["band", "curve", "constant", "constant", "constant", "random"]
    assert "0.40 (0.32 to 0.48), at 0.45" in charts[0].summary
    assert charts[0].summary.endswith("random weights at most 0.15 (0.12 to 0.18).")
    assert figures_localization.threshold_curves(replaced(data, iou_curves=data.frames["iou_curves"].clear())) == ()


def test_confidence_is_told_with_the_number_of_lesions_and_the_scores_interval(data):
    chart = figures_localization.confidence_iou(data)[0]
    head = data.frames["table_4_localization"].filter(run_id=1, headline=True).row(0, named=True)
    samples = data.frames["sample_results"].filter(pl.col("iou").is_not_null(), run_id=1, correct=False)
    wrong = samples["iou"]
    clusters = draw(samples["patient"].to_numpy(), 1000, np.random.default_rng(0))
    low, high = interval(ratios(wrong.to_numpy()[:, None], np.ones((len(wrong), 1), dtype=bool), clusters), 0.95, 2)
    assert chart.summary == (
        f"Mean IoU {head['ll']:.2f} ({head['low']:.2f} to {head['high']:.2f}) over the {head['n']} lesions whose class "
        f"is right; over the {wrong.len()} whose class is wrong it is {wrong.mean():.2f} "
        f"({low[0]:.2f} to {high[0]:.2f})."
    )
    assert head["n"] + wrong.len() == len(chart.dots) == 48


def test_confidence_of_models_always_right_or_never(data):
    samples, head = data.frames["sample_results"], data.frames["table_4_localization"]
    right = replaced(data, sample_results=samples.with_columns(correct=pl.lit(True)))
    assert figures_localization.confidence_iou(right)[0].summary.endswith("; no class is wrong.")
    never = replaced(
        data,
        sample_results=samples.with_columns(correct=pl.lit(False)),
        table_4_localization=head.with_columns(ll=pl.lit(None, pl.Float64)),
    )
    summary = figures_localization.confidence_iou(never)[0].summary
    assert summary.startswith("No class is right; over the 48 whose class is wrong it is 0.")


def test_threshold_curves_without_intervals_or_baselines_are_lines(data):
    curves = data.frames["iou_curves"].filter(method="grad_cam").with_columns(low=None, high=None)
    head = data.frames["table_4_localization"].with_columns(
        whole_patch=pl.lit(None, pl.Float64), centred_disc=pl.lit(None, pl.Float64), mean_mask=pl.lit(None, pl.Float64)
    )
    charts = figures_localization.threshold_curves(replaced(data, iou_curves=curves, table_4_localization=head))
    assert [line.kind for line in charts[0].lines] == ["curve"]
