"""Scores stand where their rows say, beside what they must beat."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlens.reporting.charts.evidence import (
    Entry,
    by_mask_fraction,
    confidence_iou,
    forest,
    forest_of,
    occlusion_chart,
    randomisation,
)
from lesionlens.reporting.charts.style import SOFT, series
from lesionlens.reporting.page import wrong_classes
from lesionlens.scoring.bootstrap import draw, interval, ratios

from .drawn import colours, heights, lines, marks, replaced, words

NOTHING = pl.lit(None, pl.Float64)
BASELINES = {"whole_patch": "whole patch", "centred_disc": "centred disc", "mean_mask": "mean training mask",
             "random_weights": "random weights"}  # fmt: skip
proportions = st.floats(0, 1).map(lambda value: round(value, 3))


def across(chart, width):
    """(low, high, y) of every horizontal line of a width."""
    return [(line[0, 0], line[1, 0], line[0, 1]) for line in lines(chart, width) if line[0, 1] == line[1, 1]]


def test_the_forest_shows_every_score_and_baseline(data):
    drawn = forest(data)
    rows = data.frames["table_4_localization"].filter(headline=True).to_dicts()
    places = marks(drawn)
    assert len(places) == 4 * 7
    for n, row in enumerate(rows):
        own = next((x, y) for tip, (x, y) in places.items() if tip.endswith(f": {_spoken(row, 'll', '')}"))
        assert own[0] == row["ll"]
        assert (row["low"], row["high"], own[1]) in across(drawn, 4)
        for name in (*BASELINES, "ceiling"):
            ends = (row[f"{name}_low"], row[f"{name}_high"], own[1] + 14)
            assert [pytest.approx(ends)] == [
                found for found in across(drawn, 1.5) if found[:2] == ends[:2] and found[2] == ends[2]
            ]
        assert drawn.summary.split("; ")[n].endswith(_spoken(row, "ll", ""))
    assert [colour for colour in colours(drawn) if colour not in (SOFT, drawn.figure.axes[0].lines[0].get_color())] == [
        series(n) for n in range(4)
    ]


def _spoken(row, name, prefix):
    return f"{row[name]:.2f} ({row[f'{prefix}low']:.2f} to {row[f'{prefix}high']:.2f})"


def test_a_score_is_written_above_its_mark(data):
    drawn = forest(data)
    rows = data.frames["table_4_localization"].filter(headline=True)
    assert [word for word in words(drawn) if word[0] == "0"] == [f"{value:.2f}" for value in rows["ll"]]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(proportions, proportions, proportions), min_size=1, max_size=3))
def test_marks_and_whiskers_of_any_scores(found):
    rows = [dict(zip(("low", "ll", "high"), sorted(values), strict=True)) | {"n": 9} for values in found]
    drawn = forest_of([Entry(f"model {n}", "", n, row) for n, row in enumerate(rows)])
    places = list(marks(drawn).values())
    assert [x for x, _ in places] == [row["ll"] for row in rows]
    right = drawn.figure.axes[0].get_xlim()[1]
    assert [end[:2] for end in across(drawn, 4)] == [pytest.approx((row["low"], row["high"])) for row in rows]
    assert all(0 <= x <= right for x, _ in places)


def test_scores_without_an_interval_have_no_whisker_and_models_without_a_score_no_line():
    rows = [{"ll": 0.4, "low": None, "high": None, "n": 3, "mean_mask": 0.2}, {"ll": None, "n": 0}]
    drawn = forest_of([Entry("model", str(n), n, row) for n, row in enumerate(rows)])
    assert marks(drawn) == {"model, 0: 0.40": (0.4, 32), "model, 0, mean training mask: 0.20": (0.2, 46)}
    assert across(drawn, 4) == across(drawn, 1.5) == []
    assert drawn.summary == "model, 0: 0.40"
    assert forest_of([Entry("model", "", 0, {"ll": None, "n": 0})]) is None and forest_of([]) is None


def test_names_of_any_length_are_written_whole_and_apart():
    row = {"ll": 0.4, "low": 0.3, "high": 0.5, "n": 3}
    name = "EfficientNet-B0, simultaneous, batch 16, rate 0.0003, seed 1"
    entries = [Entry(name, f"a study of a rather long name {n}", n, row) for n in range(48)]
    drawn = forest_of(entries)
    written = words(drawn)
    assert " ".join(word for word in written[: written.index("0.40")]) == f"{name} a study of a rather long name 0"
    assert all(len(word) <= 24 for word in written) and len(marks(drawn)) == 48
    places = sorted(set(heights(forest_of(entries[:1])).values()))
    assert all(b - a > 11 for a, b in itertools.pairwise(places))


def test_falls_of_probability_stand_beside_those_of_the_control(data):
    drawn = occlusion_chart(data)
    lesions = [(tip, place) for tip, place in marks(drawn).items() if "control" not in tip]
    controls = [place for tip, place in marks(drawn).items() if "control region" in tip]
    assert [x for _, (x, _) in lesions] == [0.31] * 4 and [x for x, _ in controls] == [0.02] * 4
    assert {end[:2] for end in across(drawn, 4)} == {(0.22, 0.40)}
    assert {end[:2] for end in across(drawn, 1.5)} == {(-0.03, 0.06)}
    assert drawn.figure.axes[0].get_xlim() == pytest.approx((-0.0324, 0.432))
    assert drawn.summary.count("0.31 (0.22 to 0.40) against 0.02 (−0.03 to 0.06)") == 4


def test_a_fall_without_control_or_interval_is_a_mark_alone(data):
    test = data.frames["occlusion_test"].with_columns(
        *(NOTHING.alias(name) for name in ("control_drop", "control_drop_low", "control_drop_high", "lesion_drop_low"))
    )
    drawn = occlusion_chart(replaced(data, occlusion_test=test))
    assert len(marks(drawn)) == 4 and across(drawn, 4) == across(drawn, 1.5) == []


def randomised(data, **columns):
    frame = data.frames["weight_randomisation"].with_columns(**columns)
    return randomisation(replaced(data, weight_randomisation=frame))[0]


def test_similarities_stand_at_every_step_with_their_level_of_chance(data):
    drawn = randomised(data)
    rows = data.frames["weight_randomisation"].filter(run_id=1).sort("step").to_dicts()
    assert list(marks(drawn).values()) == [
        (row["step"], row[name]) for name in ("ssim", "rank_correlation") for row in rows
    ]
    upright = {(line[0, 0], line[0, 1], line[1, 1]) for line in lines(drawn, 1.5) if line[0, 0] == line[-1, 0]}
    assert {(row["step"], row["rank_low"], row["rank_high"]) for row in rows} < upright
    assert (1, rows[1]["ssim_low"], rows[1]["ssim_high"]) in upright
    (level,) = lines(drawn, 1.3)
    assert level[:, 1].tolist() == [0.21, 0.21]
    assert [line[0, 1] for line in lines(drawn, 1.5) if len(line) == 2 and line[0, 0] != line[1, 0]] == [0.02]
    assert words(drawn) == ["SSIM", "SSIM chance", "rank", "rank chance"]


def test_similarities_fall_to_their_own_level_of_chance_or_do_not(data):
    said = (
        "With every layer random, over 32 lesions: SSIM 0.18 (0.14 to 0.22), fallen to chance (0.21); "
        "rank correlation 0.08 (0.03 to 0.13), "
    )
    assert randomised(data).summary == f"{said}still above chance (0.02)."
    assert randomised(data, rank_chance=pl.lit(0.04)).summary == f"{said}fallen to chance (0.04)."
    assert randomised(data, rank_chance=pl.lit(0.14)).summary == f"{said}fallen below chance (0.14)."
    assert "0.22), still above chance (0.13)" in randomised(data, ssim_chance=pl.lit(0.13)).summary


def test_similarities_of_one_patient_or_of_none_are_not_judged(data):
    assert "which takes two patients; rank" in randomised(data, ssim_chance=NOTHING).summary
    alone = randomised(data, rank_low=NOTHING, rank_high=NOTHING)
    assert alone.summary.endswith("rank correlation 0.08, not to be told from chance, which takes two patients.")
    none = dict.fromkeys(("ssim", "ssim_low", "ssim_high", "rank_correlation", "rank_low", "rank_high"), NOTHING)
    drawn = randomised(data, n=pl.lit(0), **none)
    assert "no lesion has a map that is not blank" in drawn.summary and marks(drawn) == {}


def test_scores_by_mask_fraction_stand_beside_two_baselines(data):
    drawn = by_mask_fraction(data)[0]
    (axes,) = drawn.figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0–5", "5–10", "10–20"]
    own = [place for tip, place in marks(drawn).items() if "of the patch" in tip]
    assert own == [(0, 0.1), (1, 0.3), (2, 0.5)]
    assert np.allclose(
        [(line[0, 1], line[1, 1]) for line in lines(drawn, 4)], [(0.02, 0.18), (0.22, 0.38), (0.42, 0.58)]
    )
    beside = {tip: y for tip, (x, y) in marks(drawn).items() if x % 1}
    assert beside["centred disc: 0.05 (0.04 to 0.06)"] == 0.05 and len(beside) == len(lines(drawn, 1.5)) == 6


def test_lesions_of_unknown_mask_fraction_or_without_a_score_are_left_out(data):
    key = (pl.col("name") == "ll") & (pl.col("level") == "0.05 to 0.10")
    scores = data.frames["subgroup_scores"]
    unknown = scores.with_columns(level=pl.when(key).then(pl.lit("unknown")).otherwise("level"))
    empty = scores.with_columns(value=pl.when(key).then(None).otherwise("value"))
    for frame in (unknown, empty):
        (axes,) = by_mask_fraction(replaced(data, subgroup_scores=frame))[0].figure.axes
        assert [text.get_text() for text in axes.get_xticklabels()] == ["0–5", "10–20"]


def test_without_checks_there_is_nothing_to_draw(data):
    empty = ("occlusion_test", "weight_randomisation", "subgroup_scores", "sample_results", "table_4_localization")
    none = replaced(data, **{name: data.frames[name].clear() for name in empty})
    assert forest(none) is occlusion_chart(none) is None
    assert randomisation(none) == by_mask_fraction(none) == confidence_iou(none, wrong_classes(none)) == ()


def confidences(data):
    return confidence_iou(data, wrong_classes(data))[0]


def test_every_lesion_is_a_mark_filled_where_its_class_is_right(data):
    drawn = confidences(data)
    samples = data.frames["sample_results"].filter(pl.col("iou").is_not_null(), run_id=1)
    wrong, right = drawn.figure.axes[0].lines
    for line, correct in ((wrong, False), (right, True)):
        expected = samples.filter(correct=correct).select("confidence", "iou").to_numpy()
        assert np.array_equal(line.get_xydata(), expected)
    assert right.get_markerfacecolor() == wrong.get_markeredgecolor() == series(0)


def test_confidence_comes_with_the_number_of_lesions_and_the_scores_interval(data):
    head = data.frames["table_4_localization"].filter(run_id=1, headline=True).row(0, named=True)
    samples = data.frames["sample_results"].filter(pl.col("iou").is_not_null(), run_id=1, correct=False)
    wrong = samples["iou"]
    n = samples["patient"].n_unique()
    clusters = draw(samples["patient"].to_numpy(), 1000, np.random.default_rng(0))
    low, high = interval(ratios(wrong.to_numpy()[:, None], np.ones((len(wrong), 1), dtype=bool), clusters), 0.95, n)
    assert confidences(data).summary == (
        f"Mean IoU {head['ll']:.2f} ({head['low']:.2f} to {head['high']:.2f}) over the {head['n']} lesions whose class "
        f"is right; over the {wrong.len()} whose class is wrong it is {wrong.mean():.2f} "
        f"({low[0]:.2f} to {high[0]:.2f})."
    )


def test_confidence_of_models_always_right_or_never(data):
    samples, head = data.frames["sample_results"], data.frames["table_4_localization"]
    right = replaced(data, sample_results=samples.with_columns(correct=pl.lit(True)))
    assert confidences(right).summary.endswith("; no class is wrong.")
    never = replaced(
        data,
        sample_results=samples.with_columns(correct=pl.lit(False)),
        table_4_localization=head.with_columns(ll=NOTHING),
    )
    assert confidences(never).summary.startswith("No class is right; over the 48 whose class is wrong it is 0.")
