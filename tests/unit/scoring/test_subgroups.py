"""Subgroups and quadrants against plain filtering."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from lesionlens.frames import FRAMES
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, draw
from lesionlens.scoring.subgroups import mask_fraction_band, quadrants, subgroup_scores


@pytest.fixture(scope="module")
def patches(tiny_patches: Callable[..., SampleArrays]) -> SampleArrays:
    return tiny_patches(count=120)


@pytest.fixture(scope="module")
def clusters(patches: SampleArrays) -> Clusters:
    return draw(patches.patients, 200, np.random.default_rng(0))


def attributes(patches: SampleArrays) -> pl.DataFrame:
    count = len(patches.ids)
    return pl.DataFrame(
        {
            "sample_id": patches.ids[::-1],  # in any order
            "breast_density": [None if i % 10 == 0 else 1 + i % 3 for i in range(count)],
            "subtlety": [None if i % 7 == 0 else i % 5 for i in range(count)],
            "view": [None] * count,
        },
        schema_overrides={"view": pl.String},
    )


def drawn(patches: SampleArrays) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    iou = np.where(patches.has_mask, generator.random(len(patches.ids)), np.nan)
    return generator.random(len(patches.ids)) < 0.7, {"grad_cam": iou, "whole_patch": iou / 2}


def test_every_level_is_the_filtered_mean(patches: SampleArrays, clusters: Clusters) -> None:
    correct, ious = drawn(patches)
    frame = subgroup_scores(patches, attributes(patches), correct, ious, clusters, 0.95)
    assert frame.schema == FRAMES["subgroup_scores"]
    assert frame.filter(subgroup="breast_density")["level"].unique(maintain_order=True).to_list() == [
        "1",
        "2",
        "3",
        "unknown",
    ]
    density = attributes(patches).sort("sample_id")["breast_density"].to_numpy()
    for method in ious:
        row = frame.filter(subgroup="breast_density", level="2", method=method, population="correct_lesions")
        chosen = (density == 2) & correct & patches.has_mask
        found = row.row(0, named=True)
        assert (found["n"], found["value"]) == (chosen.sum(), pytest.approx(ious[method][chosen].mean()))
        assert found["low"] < found["value"] < found["high"]
    unknown = frame.filter(subgroup="breast_density", level="unknown", name="accuracy").row(0, named=True)
    assert unknown["value"] == pytest.approx(correct[np.isnan(density)].mean())


def test_attributes_of_lesions_say_nothing_of_background(patches: SampleArrays, clusters: Clusters) -> None:
    frame = subgroup_scores(patches, attributes(patches), *drawn(patches), clusters, 0.95)
    by_level = frame.filter(subgroup="subtlety", name="accuracy")
    assert by_level["n"].sum() == patches.has_mask.sum()
    assert frame.filter(subgroup="breast_density", name="accuracy")["n"].sum() == len(patches.ids)


def test_an_attribute_that_nobody_gave_is_left_out(patches: SampleArrays, clusters: Clusters) -> None:
    frame = subgroup_scores(patches, attributes(patches), *drawn(patches), clusters, 0.95)
    assert set(frame["subgroup"]) == {"breast_density", "subtlety"}
    bare = subgroup_scores(patches, attributes(patches).select("sample_id"), *drawn(patches), clusters, 0.95)
    assert bare.height == 0 and bare.schema == FRAMES["subgroup_scores"]


def test_a_level_without_lesions_says_so(patches: SampleArrays, clusters: Clusters) -> None:
    kind = (
        attributes(patches)
        .sort("sample_id")
        .with_columns(view=pl.Series(["CC" if there else "MLO" for there in patches.has_mask]))
    )
    frame = subgroup_scores(patches, kind, *drawn(patches), clusters, 0.95)
    row = frame.filter(subgroup="view", level="MLO", method="grad_cam", population="lesions").row(0, named=True)
    assert (row["value"], row["low"], row["n"], row["reason"]) == (None, None, 0, "no_samples")


def test_a_level_of_one_patient_has_no_interval_and_says_so(patches: SampleArrays, clusters: Clusters) -> None:
    views = ["ML" if name == patches.patients[4] else "CC" for name in patches.patients]
    given = attributes(patches).sort("sample_id").with_columns(view=pl.Series(views))
    frame = subgroup_scores(patches, given, *drawn(patches), clusters, 0.95)
    row = frame.filter(subgroup="view", level="ML", name="accuracy").row(0, named=True)
    assert (row["n"], row["low"], row["high"], row["reason"]) == (3, None, None, "one_patient")
    assert row["value"] is not None


def test_mask_fractions_fall_into_five_bands() -> None:
    frame = pl.DataFrame({"f": [0.0, 0.049, 0.05, 0.3, 0.4, 1.0, None]})
    bands = frame.select(mask_fraction_band(pl.col("f"))).to_series().to_list()
    first, last = "0.00 to 0.05", "0.40 to 1.00"
    assert bands == [first, first, "0.05 to 0.10", "0.20 to 0.40", last, last, None]


def test_quadrants_hold_every_scored_lesion_once(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches(count=120)
    generator = np.random.default_rng(0)
    correct, located = generator.random(120) < 0.7, generator.random(120) < 0.5
    clusters = draw(patches.patients, 200, generator)
    frame = quadrants(patches, correct, located, clusters, 0.95)
    assert frame.schema == FRAMES["quadrants"] and frame.height == (1 + 4) * 4
    wrong_reason = frame.filter(label=2, correct=True, located=False).row(0, named=True)
    chosen = (patches.labels == 2) & correct & ~located
    assert wrong_reason["n"] == chosen.sum() > 0
    assert wrong_reason["proportion"] == pytest.approx(chosen.sum() / (patches.labels == 2).sum())
    assert wrong_reason["low"] < wrong_reason["proportion"] < wrong_reason["high"]
    for label, part in frame.group_by("label"):
        assert part["n"].sum() == part["lesions"][0], label
        assert part["proportion"].sum() == pytest.approx(1)
    assert frame.filter(pl.col("label").is_null())["n"].sum() == patches.has_mask.sum()


def test_an_empty_quadrant_is_a_row(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()
    everything = np.ones(len(patches.ids), dtype=np.bool_)
    clusters = draw(patches.patients, 100, np.random.default_rng(0))
    frame = quadrants(patches, everything, everything, clusters, 0.95)
    assert frame.filter(correct=False)["n"].to_list() == [0] * 10
    assert frame.filter(correct=True, located=True)["proportion"].to_list() == [1] * 5
