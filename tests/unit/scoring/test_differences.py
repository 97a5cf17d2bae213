"""Paired differences from baselines against a loop over lesions and patients."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionlens.localization.metrics import score_grids
from lesionlens.localization.samples import Cut, ScoredMaps, scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, draw
from lesionlens.scoring.localization import baseline_differences


@pytest.fixture(scope="module")
def patches(tiny_patches: Callable[..., SampleArrays]) -> SampleArrays:
    return tiny_patches(240).split("test")


@pytest.fixture(scope="module")
def clusters(patches: SampleArrays) -> Clusters:
    return draw(patches.patients, 300, np.random.default_rng(0))


def made(patches: SampleArrays, method: str, target: str, ious: dict[str, NDArray[np.float64]]) -> ScoredMaps:
    grids = np.ones((len(patches.ids), 2, 2), dtype=np.float32)
    scores = score_grids(grids, patches.masks, "relu_max", 0.5)
    cuts = {policy: Cut(np.full(len(iou), 0.5), iou) for policy, iou in ious.items()}
    return ScoredMaps(method, target, "block", patches.labels, grids, scores, cuts)


def test_differences_are_those_of_a_loop_over_resampled_patients(patches: SampleArrays, clusters: Clusters) -> None:
    random = np.random.default_rng(1)
    own, untrained, disc = (random.random(len(patches.ids)) for _ in range(3))
    correct = random.random(len(patches.ids)) < 0.6
    found = baseline_differences(patches, correct, [
        made(patches, "grad_cam", "predicted", {"otsu": own, "fixed": own / 2}),
        made(patches, "random_weights", "predicted", {"otsu": untrained, "fixed": untrained / 2}),
        made(patches, "centred_disc", "none", {"mask": disc}),
    ], clusters, 0.9)  # fmt: skip
    assert found.select("method", "target", "policy", "baseline").unique().height == 4
    masses = np.isin(patches.labels, [2, 4])
    for policy, baseline, other, factor in (
        ("otsu", "centred_disc", disc, 1),
        ("fixed", "random_weights", untrained, 2),
    ):
        ious = own / factor, other / (factor if baseline == "random_weights" else 1)
        for population, group, chosen in (
            ("correct_lesions", "all", scorable(patches) & correct),
            ("lesions", "mass", scorable(patches) & masses),
        ):
            (row,) = found.filter(policy=policy, baseline=baseline, population=population, group_name=group).to_dicts()
            assert row["n"] == chosen.sum() and row["reason"] is None
            assert row["difference"] == pytest.approx(ious[0][chosen].mean() - ious[1][chosen].mean())
            drawn = [
                np.average(ious[0][chosen], weights=w[chosen]) - np.average(ious[1][chosen], weights=w[chosen])
                for w in clusters.weights(0, 300)
                if w[chosen].any()
            ]
            assert [row["low"], row["high"]] == pytest.approx(np.quantile(drawn, [0.05, 0.95]))


def test_pairs_are_told_apart_where_two_intervals_overlap(patches: SampleArrays, clusters: Clusters) -> None:
    """Lesions differ far more from each other than the map from the baseline."""
    random = np.random.default_rng(2)
    baseline = random.uniform(0.0, 0.9, len(patches.ids))
    own = baseline + random.uniform(0.0, 0.06, len(patches.ids))
    found = baseline_differences(patches, np.ones(len(own), dtype=np.bool_), [
        made(patches, "grad_cam", "predicted", {"fixed": own}), made(patches, "mean_mask", "none", {"mask": baseline}),
    ], clusters, 0.95)  # fmt: skip
    row = found.filter(population="correct_lesions", group_name="all").row(0, named=True)
    assert 0 < row["low"] < row["difference"] < row["high"] < 0.06


def test_lesions_without_a_tuned_threshold_and_single_patients_say_why(patches: SampleArrays) -> None:
    nothing, disc = np.full(len(patches.ids), np.nan), np.zeros(len(patches.ids))
    one = draw(np.full(len(patches.ids), "P"), 50, np.random.default_rng(0))
    found = baseline_differences(patches, np.ones(len(disc), dtype=np.bool_), [
        made(patches, "grad_cam", "predicted", {"validation": nothing, "fixed": disc + 0.5}),
        made(patches, "whole_patch", "none", {"mask": disc}),
    ], one, 0.95)  # fmt: skip
    of_all = found.filter(population="lesions", group_name="all").sort("policy").drop("n").rows()
    key = ("whole_patch", "lesions", "all")
    assert of_all == [
        ("grad_cam", "predicted", "fixed", *key, 0.5, None, None, "one_patient"),
        ("grad_cam", "predicted", "validation", *key, None, None, None, "no_samples"),
    ]
