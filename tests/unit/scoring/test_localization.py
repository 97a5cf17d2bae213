"""Localisation scores: paired differences from baselines against a loop, common lesions against plain filtering."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.localization.dealt import Dealt
from lesionlens.localization.metrics import score_grids
from lesionlens.localization.samples import Cut, ScoredMaps, scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, draw
from lesionlens.scoring.localization import STUDY_SCORES, baseline_differences, common_scores

CONFIG = EvaluationConfig(resamples=200)
COUNT = 60


@pytest.fixture(scope="module")
def patches(tiny_patches: Callable[..., SampleArrays]) -> SampleArrays:
    return tiny_patches(600).split("test")


@pytest.fixture(scope="module")
def clusters(patches: SampleArrays) -> Clusters:
    return draw(patches.patients, 300, np.random.default_rng(0))


def dealt(ious: dict[str, NDArray[np.float64]]) -> Dealt:
    """IoU that maps of other patients would have."""
    return Dealt("grad_cam", "predicted", "block", ious, frozenset())


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
    ], [dealt({"otsu": disc, "fixed": disc})], {}, "otsu", clusters, 0.9)  # fmt: skip
    assert found.select("method", "target", "policy", "baseline").unique().height == 6
    masses = np.isin(patches.labels, [2, 4])
    for policy, baseline, other, factor in (
        ("otsu", "centred_disc", disc, 1),
        ("otsu", "dealt_maps", disc, 1),
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


def test_random_weights_are_those_of_the_same_method(patches: SampleArrays, clusters: Clusters) -> None:
    own = {"fixed": np.full(len(patches.ids), 0.6)}
    random = {name: np.full(len(patches.ids), value) for name, value in (("grad_cam", 0.1), ("lime", 0.4))}
    maps = [made(patches, name, "predicted", own) for name in random]
    untrained = {name: made(patches, "random_weights", "predicted", {"fixed": iou}) for name, iou in random.items()}
    dealt_of = [Dealt(name, "predicted", "block", own, frozenset()) for name in random]
    everywhere = np.ones(len(patches.ids), dtype=np.bool_)
    found = baseline_differences(
        patches, everywhere, [*maps, untrained["grad_cam"]], dealt_of, untrained, "fixed", clusters, 0.9
    ).filter(baseline="random_weights", population="lesions", group_name="all")
    assert dict(found.select("method", "difference").rows()) == pytest.approx({"grad_cam": 0.5, "lime": 0.2})


def test_paired_differences_are_significant_where_intervals_overlap(patches: SampleArrays, clusters: Clusters) -> None:
    """Lesions differ far more from each other than the map from the baseline."""
    random = np.random.default_rng(2)
    baseline = random.uniform(0.0, 0.9, len(patches.ids))
    own = baseline + random.uniform(0.0, 0.06, len(patches.ids))
    found = baseline_differences(patches, np.ones(len(own), dtype=np.bool_), [
        made(patches, "grad_cam", "predicted", {"fixed": own}), made(patches, "mean_mask", "none", {"mask": baseline}),
    ], [dealt({"fixed": baseline})], {}, "fixed", clusters, 0.95)  # fmt: skip
    row = found.filter(population="correct_lesions", group_name="all").row(0, named=True)
    assert 0 < row["low"] < row["difference"] < row["high"] < 0.06


def test_lesions_without_a_tuned_threshold_and_single_patients_say_why(patches: SampleArrays) -> None:
    nothing, disc = np.full(len(patches.ids), np.nan), np.zeros(len(patches.ids))
    one = draw(np.full(len(patches.ids), "P"), 50, np.random.default_rng(0))
    found = baseline_differences(patches, np.ones(len(disc), dtype=np.bool_), [
        made(patches, "grad_cam", "predicted", {"validation": nothing, "fixed": disc + 0.5}),
        made(patches, "whole_patch", "none", {"mask": disc}),
    ], [dealt({"validation": nothing, "fixed": disc})], {}, "fixed", one, 0.95)  # fmt: skip
    of_all = found.filter(population="lesions", group_name="all").sort("policy", "baseline").drop("n").rows()
    assert of_all == [
        ("grad_cam", "predicted", policy, baseline, "lesions", "all", *rest)
        for policy, rest in (
            ("fixed", (0.5, None, None, "one_patient")), ("validation", (None, None, None, "no_samples"))
        )
        for baseline in ("dealt_maps", "whole_patch")
    ]  # fmt: skip


def evaluated(evaluations: tuple[int, ...], seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every third patch is background; two patches per patient; a map and a baseline."""
    generator = np.random.default_rng(seed)
    patches = np.arange(COUNT)
    samples, localizations = [], []
    for number in evaluations:
        samples.append(
            pl.DataFrame(
                {
                    "evaluation_id": [number] * COUNT,
                    "sample_id": patches,
                    "patient": [f"P_{i // 2}" for i in patches],
                    "group_name": ["background" if i % 3 == 0 else ("mass", "calc")[i % 2] for i in patches],
                    "correct": generator.random(COUNT) < 0.8,
                }
            )
        )
        for method, target, policy in (("grad_cam", "predicted", "fixed"), ("mean_mask", "none", "mask")):
            iou = [None if i % 3 == 0 else float(v) for i, v in enumerate(generator.random(COUNT))]
            key = {"evaluation_id": number, "method": method, "target": target, "policy": policy}
            frame = pl.DataFrame({"sample_id": patches, "iou": iou}).with_columns(
                **{k: pl.lit(v) for k, v in key.items()}
            )
            localizations.append(frame.select("evaluation_id", "sample_id", "method", "target", "policy", "iou"))
    return pl.concat(samples), pl.concat(localizations)


def test_only_what_every_model_got_right_counts() -> None:
    samples, localizations = evaluated((3, 5, 9))
    frame = common_scores(samples, localizations, CONFIG, seed=0)
    assert frame.schema == STUDY_SCORES and set(frame["population"]) == {"common_lesions"}
    right = samples["correct"].to_numpy().reshape(3, COUNT).all(axis=0)
    lesions = right & (np.arange(COUNT) % 3 > 0)
    assert set(frame.filter(name="ll", group_name="all")["n"]) == {lesions.sum()}
    for number, method in ((3, "grad_cam"), (5, "mean_mask")):
        iou = localizations.filter(evaluation_id=number, method=method)["iou"].to_numpy()
        row = frame.filter(evaluation_id=number, method=method, name="ll", group_name="all").row(0, named=True)
        assert row["value"] == pytest.approx(iou[lesions].mean())
        assert row["low"] < row["value"] < row["high"]
        mass = frame.filter(evaluation_id=number, method=method, group_name="mass").row(0, named=True)
        assert mass["value"] == pytest.approx(iou[lesions & (np.arange(COUNT) % 2 == 0)].mean())
    accuracy = samples.filter(evaluation_id=9)["correct"].mean()
    nine = frame.filter(evaluation_id=9, method="grad_cam", group_name="all")
    both = {row["name"]: row["value"] for row in nine.iter_rows(named=True)}
    assert both["acc_x_ll"] == pytest.approx(accuracy * both["ll"])
    assert set(frame.filter(name="acc_x_ll")["method"]) == {"grad_cam"}


def test_a_patch_that_one_model_was_not_asked_about_is_not_common() -> None:
    samples, localizations = evaluated((1, 2))
    fewer = samples.filter(~((pl.col("evaluation_id") == 2) & (pl.col("sample_id") < 30)))
    frame = common_scores(fewer, localizations, CONFIG, seed=0)
    right = samples["correct"].to_numpy().reshape(2, COUNT).all(axis=0)
    expected = right & (np.arange(COUNT) % 3 > 0) & (np.arange(COUNT) >= 30)
    assert set(frame.filter(name="ll", group_name="all")["n"]) == {expected.sum()}


def test_models_that_agree_on_nothing_have_no_common_score_and_say_why() -> None:
    samples, localizations = evaluated((1, 2))
    apart = samples.with_columns(correct=pl.col("evaluation_id") == 1)
    frame = common_scores(apart, localizations, CONFIG, seed=0)
    assert frame["value"].null_count() == frame.height > 0
    assert set(frame["reason"]) == {"no_samples"} and set(frame["n"]) == {0}


def test_many_samples_of_a_patient_narrow_no_common_score() -> None:
    once = evaluated((1, 2))
    often = [pl.concat([part.with_columns(sample_id=5 * pl.col("sample_id") + n) for n in range(5)]) for part in once]
    few, many = common_scores(*once, CONFIG, seed=0), common_scores(*often, CONFIG, seed=0)
    assert (5 * few["n"]).to_list() == many["n"].to_list()
    for column in ("value", "low", "high"):
        np.testing.assert_allclose(few[column].to_numpy(), many[column].to_numpy(), rtol=1e-9, err_msg=column)


def test_no_evaluations_give_an_empty_frame() -> None:
    samples, localizations = evaluated((1,))
    assert common_scores(samples.clear(), localizations.clear(), CONFIG, 0).schema == STUDY_SCORES
