"""Curves stand where their rows say."""

import itertools
import math

import numpy as np
import polars as pl
import pytest

from lesionlens.reporting.charts.curves import (
    corners,
    learning_curves,
    reliability,
    roc_beside,
    roc_curves,
    roc_levels,
    threshold_curves,
)
from lesionlens.reporting.data import shown
from lesionlens.reporting.verdict import chosen

from .drawn import heights, lines, marks, replaced, words

NOTHING = pl.lit(None, pl.Float64)


def test_a_roc_curve_keeps_its_corners_only():
    points = np.array([(0.0, 0.5), (0.0, 1.0), (0.5, 1.0)])
    assert corners(points).tolist() == [[0, 0], [0, 1], [1, 1]]


def test_roc_curves_go_through_the_points_of_the_record(data):
    drawn = roc_curves(data)
    assert len(drawn) == 4
    rates = data.frames["roc_curve"].filter(run_id=2, code="BM").sort("threshold", descending=True)
    expected = corners(rates.select("false_positive_rate", "true_positive_rate").to_numpy())
    curve = lines(drawn[1], 1.6)[2]  # classes in the record's order
    assert np.allclose(curve, expected)


def test_roc_curves_are_named_by_class_and_area(data):
    drawn = roc_curves(data)[0]
    assert words(drawn) == ["MM 0.89", "MC 0.89", "BM 0.89", "BC 0.89", "B 0.89"]  # from below
    places = list(heights(drawn).values())
    assert places == sorted(places)
    assert "benign mass 0.89 (0.84 to 0.93);" in drawn.summary


def test_curves_by_level_are_of_the_model_of_the_answer(data, changed):
    """Those of patches are straight in this record, those of patients as good as can be."""
    best = chosen(data).run_id
    height = (
        pl.when(pl.col("measure") != "roc").then("value")
        .when((pl.col("level") == "lesion") & (pl.col("run_id") == best)).then(1 - pl.col("at"))
        .otherwise(1.0)
    )  # fmt: skip
    drawn = roc_levels(changed(data, operating_points={"value": height}))
    assert [chart.title for chart in drawn] == ["Lesion or not", "Which lesion"]
    for chart in drawn:
        patch, breast, patient = lines(chart, 1.6)
        assert np.allclose(patch[:, 0], patch[:, 1]) and patch[0].tolist() == [0, 0] and patch[-1].tolist() == [1, 1]
        assert breast[1:, 1].tolist() == patient[1:, 1].tolist() == [1.0] * 21
        assert words(chart) == ["patient 0.90", "breast 0.90", "patch 0.90"]  # from below
        assert "patient 0.90 (0.84 to 0.96), 60" in chart.summary
    one = data.frames["operating_points"].filter(question="diagnosis")
    assert len(roc_levels(changed(data, operating_points=one))) == 1
    assert roc_levels(changed(data, operating_points=one.clear())) == ()


def test_long_names_and_many_classes_keep_inside(make_data):
    labels = tuple((f"class number {n}", f"a long name {n}", "mass", True) for n in range(14))
    drawn = roc_curves(make_data(labels=labels, per_class=1, runs=(("resnet18", "gradual"),)))[0]
    (axes,) = drawn.figure.axes
    assert len(lines(drawn, 1.6)) == len(axes.texts) == 14
    drawn.figure.draw_without_rendering()
    assert all(text.get_window_extent().x1 <= drawn.figure.bbox.x1 for text in axes.texts)
    places = sorted(text.get_transform().transform(text.get_position())[1] for text in axes.texts)
    assert all(b - a >= axes.texts[0].get_fontsize() for a, b in itertools.pairwise(places))
    assert "a long name 13 0.89" in drawn.summary


def test_reliability_stands_at_the_means_of_its_bins(data):
    drawn = reliability(data)[0]
    rows = data.frames["reliability_curve"].filter(pl.col("confidence").is_not_null(), run_id=1).to_dicts()
    assert sorted(marks(drawn).values()) == [(row["confidence"], row["accuracy"]) for row in rows]
    assert len(rows) == 8  # two of ten bins are empty
    ends = [
        (line[0, 0], *np.clip((row["low"], row["high"]), 0, 1))
        for line, row in zip(lines(drawn, 1.5), rows, strict=True)
    ]
    assert [(line[0, 0], line[0, 1], line[1, 1]) for line in lines(drawn, 1.5)] == ends
    assert ends[0][0] == rows[0]["confidence"]


def test_a_reliability_mark_grows_with_its_samples(data):
    (axes,) = reliability(data)[0].figure.axes
    sizes = [line.get_markersize() for line in axes.lines if line.get_gid()]
    assert sizes == sorted(sizes) and sizes[0] ** 2 / sizes[-1] ** 2 == pytest.approx(6 / 27)


def test_the_calibration_error_stands_beside_that_of_chance(data):
    sure = data.frames["sample_results"].with_columns(confidence=pl.lit(0.5))
    drawn = reliability(replaced(data, sample_results=sure))[0]
    heads = 60 * math.comb(59, 30) / 2**60  # mean distance of 60 coins' number of heads from 30
    assert f"{heads / 60:.2f}" == "0.05"
    assert "error 0.08 (0.05 to 0.12)" in drawn.summary and drawn.summary.endswith("model 0.05 here.")
    none = replaced(data, calibration=data.frames["calibration"].clear())
    assert reliability(none)[0].summary == ""


def test_learning_curves_are_the_losses_of_every_epoch(data):
    drawn = learning_curves(data)
    assert len(drawn) == 4 and len({chart.figure.axes[0].get_ylim() for chart in drawn}) == 1
    epochs = data.frames["epochs"].filter(run_id=1).sort("epoch")
    (training,), (validation,) = lines(drawn[0], 1.5)[:1], lines(drawn[0], 2)
    assert np.allclose(training, epochs.select("epoch", "train_loss").to_numpy())
    assert np.allclose(validation, epochs.select("epoch", "validation_loss").to_numpy())
    best = epochs.filter(epoch=9).row(0, named=True)
    assert list(marks(drawn[0]).values()) == [(9, best["validation_loss"])]
    assert f"epoch 9 of 12, validation loss {best['validation_loss']:.2f}" in drawn[0].summary


def test_the_marked_epoch_is_the_lowest_where_none_is_recorded(data):
    unscored = replaced(data, table_2_accuracy=data.frames["table_2_accuracy"].clear())
    epochs = data.frames["epochs"].filter(run_id=1)
    lowest = epochs.sort("validation_loss").row(0, named=True)
    assert list(marks(learning_curves(unscored)[0]).values()) == [(lowest["epoch"], lowest["validation_loss"])]


def test_phases_of_gradual_training_are_marked(data):
    gradual, simultaneous = learning_curves(data)[:2]
    assert words(gradual)[2:] == ["head", "+1", "+2"] and words(simultaneous)[2:] == []
    borders = [line[0, 0] for line in lines(gradual, 1.5)[1:]]
    assert borders == [4.5, 8.5]


def test_short_phases_keep_their_names_apart(data):
    epochs = data.frames["epochs"].with_columns(phase=pl.min_horizontal(pl.col("epoch"), pl.lit(4)))
    drawn = learning_curves(replaced(data, epochs=epochs))[0]
    (axes,) = drawn.figure.axes
    assert words(drawn)[2:] == ["head", "+1", "+2", "phase 4"]
    places = [text.get_transform().transform(text.get_position())[0] for text in axes.texts[2:]]
    assert all(b - a > 26 for a, b in itertools.pairwise(places))


def test_a_single_epoch_and_a_loss_that_is_no_number_are_drawn(data):
    one = data.frames["epochs"].filter(epoch=1)
    drawn = learning_curves(replaced(data, epochs=one))[0]
    assert [x for x, _ in marks(drawn).values()] == [1] and drawn.figure.axes[0].get_xlim() == (1, 2)
    broken = one.with_columns(train_loss=pl.lit(math.nan), validation_loss=pl.lit(math.inf))
    assert len(learning_curves(replaced(data, epochs=broken))) == 4
    assert learning_curves(replaced(data, epochs=one.clear())) == ()


def test_threshold_curves_stand_beside_every_baseline(data):
    drawn = threshold_curves(data)
    head = data.frames["table_4_localization"].filter(run_id=1, headline=True).row(0, named=True)
    curves = data.frames["iou_curves"].filter(run_id=1).sort("threshold").partition_by("method", as_dict=True)
    assert len(drawn) == 4 and len({chart.figure.axes[0].get_ylim() for chart in drawn}) == 1
    (own,), (random,) = lines(drawn[0], 2), lines(drawn[0], 1.3)
    assert np.allclose(own, curves["grad_cam",].select("threshold", "iou").to_numpy())
    assert np.allclose(random, curves["random_weights",].select("threshold", "iou").to_numpy())
    levels = [line[0, 1] for line in lines(drawn[0], 1.2)]
    assert levels == [head[name] for name in ("whole_patch", "centred_disc", "mean_mask")]
    named = [f"patch {levels[0]:.2f}", f"disc {levels[1]:.2f}", f"mask {levels[2]:.2f}", "random 0.15", "0.40"]
    assert words(drawn[0]) == named
    assert list(marks(drawn[0]).items()) == [("0.40 (0.32 to 0.48)", (0.45, pytest.approx(0.4)))]
    assert "0.40 (0.32 to 0.48), at 0.45" in drawn[0].summary
    assert drawn[0].summary.endswith("random weights at most 0.15 (0.12 to 0.18).")


def test_rows_may_come_in_any_order(data):
    shuffled = {name: data.frames[name].sample(fraction=1, shuffle=True, seed=3) for name in ("iou_curves", "epochs")}
    other = replaced(data, **shuffled)
    for draw in (threshold_curves, learning_curves):
        assert [drawn.alone for drawn in draw(other)] == [drawn.alone for drawn in draw(data)]


def test_the_band_is_the_interval_at_every_threshold(data):
    (band,) = threshold_curves(data)[0].figure.axes[0].patches
    rows = data.frames["iou_curves"].filter(run_id=1, method="grad_cam").sort("threshold")
    expected = [*rows.select("threshold", "low").rows(), *rows.reverse().select("threshold", "high").rows()]
    assert np.allclose(band.get_xy()[: len(expected)], expected)


def test_threshold_curves_without_intervals_or_baselines_are_lines(data):
    curves = data.frames["iou_curves"].filter(method="grad_cam").with_columns(low=NOTHING, high=NOTHING)
    head = data.frames["table_4_localization"].with_columns(
        whole_patch=NOTHING, centred_disc=NOTHING, mean_mask=NOTHING
    )
    drawn = threshold_curves(replaced(data, iou_curves=curves, table_4_localization=head))[0]
    assert not drawn.figure.axes[0].patches and words(drawn) == ["0.40"]
    assert "0.40, at 0.45" in drawn.summary and "Baselines" not in drawn.summary
    point = curves.filter(threshold=0.5)
    assert len(lines(threshold_curves(replaced(data, iou_curves=point))[0], 2)) == 1
    assert threshold_curves(replaced(data, iou_curves=curves.clear())) == ()


def test_models_of_several_studies_stand_on_one_roc_axis_by_breast(data):
    parts = [(data, "one", shown(data)), (replaced(data), "two", shown(data))]
    chart = roc_beside(parts)
    assert chart is not None
    count = 2 * len(shown(data))
    assert chart.summary.count("0.90 (") == count and chart.summary.count("· two") == count // 2
    nothing = replaced(data, operating_points=data.frames["operating_points"].filter(level="lesion"))
    assert roc_beside([(nothing, "none", shown(data))]) is None
