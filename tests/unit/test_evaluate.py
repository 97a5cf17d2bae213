"""One run evaluated whole: what the frames hold, and that they hang together."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lesionlens.attribution import perturbation
from lesionlens.attribution.scaling import activation_maps
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.errors import EvaluationError
from lesionlens.evaluate import EvaluationInputs, evaluate
from lesionlens.localization.baselines import random_model
from lesionlens.localization.metrics import score_grids
from lesionlens.models.backbones import build
from lesionlens.records import Evaluation, SampleArrays, Statistics
from lesionlens.scoring.bootstrap import draw, interval, ratios

pytestmark = pytest.mark.usefixtures("thin")

RUN = RunConfig(backbone="resnet18", strategy="gradual")
TRAINING = TrainingConfig(weights="none")
CONFIG = EvaluationConfig(methods=("grad_cam", "layer_cam"), resamples=100, randomisation_samples=4)
QUICK = EvaluationConfig(resamples=100, randomisation_samples=0)
KEY = ["name", "method", "target", "policy", "population", "group_name"]


def run(
    patches: SampleArrays, config: EvaluationConfig = CONFIG, training: TrainingConfig = TRAINING, **options
) -> Evaluation:
    given = inputs_of(patches, config, training)
    return evaluate(build("resnet18", 5, seed=3), given, **({"device": "cpu"} | options))


def inputs_of(patches: SampleArrays, config: EvaluationConfig, training: TrainingConfig = TRAINING) -> EvaluationInputs:
    random = partial(random_model, RUN, training, patches)
    return EvaluationInputs(training.normalise, config, patches, attributes_of(patches), 0, random)


def attributes_of(patches: SampleArrays) -> pl.DataFrame:
    """View and pathology as a data set gives them: BC and BM benign, MC and MM malignant, nothing of background."""
    words = np.array([None, "BENIGN", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT", "MALIGNANT"], dtype=object)
    return pl.DataFrame(
        {
            "sample_id": patches.ids,
            "pathology": words[patches.labels].tolist(),
            "mask_fraction": [
                f if there else None for f, there in zip(patches.masks.mean(axis=(1, 2)), patches.has_mask, strict=True)
            ],
            "view": ["CC" if number % 3 else "MLO" for number in patches.ids],
            "subtlety": [None] * len(patches.ids),
        },
        schema_overrides={"pathology": pl.String, "subtlety": pl.Int16},
    )


@pytest.fixture(scope="module")
def patches(tiny_patches: Callable[..., SampleArrays]) -> SampleArrays:
    """One test lesion lost its mask when it was resized."""
    made = tiny_patches()
    made.masks[11] = False
    assert made.splits[11] == "test" and made.has_mask[11]
    return made


@pytest.fixture(scope="module")
def calls() -> list[tuple[int, int]]:
    """What `result` reported of its progress."""
    return []


@pytest.fixture(scope="module")
def result(patches: SampleArrays, calls: list[tuple[int, int]]) -> Evaluation:
    return run(patches, progress=lambda done, total: calls.append((done, total)))


def test_every_test_sample_is_predicted_and_no_other(patches: SampleArrays, result: Evaluation) -> None:
    frame = result.frames["predictions"]
    assert frame["sample_id"].to_list() == patches.split("test").ids.tolist()
    probabilities = np.array(frame["probabilities"].to_list())
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), frame["predicted"].to_numpy())


def test_every_test_sample_is_explained_by_every_method_for_every_target(
    patches: SampleArrays, result: Evaluation
) -> None:
    counts = result.frames["maps"].group_by("method", "target").len().sort("method", "target")
    pairs = [(m, t) for m in ("grad_cam", "layer_cam") for t in ("predicted", "true")]
    pairs += [(m, "none") for m in ("ceiling", "centred_disc", "mean_mask", "whole_patch")]
    pairs += [(m, "predicted") for m in ("dealt_maps", "random_weights")]
    assert counts.select("method", "target").rows() == sorted(pairs)
    assert set(counts["len"]) == {len(patches.split("test").ids)}
    true = result.frames["maps"].filter(method="grad_cam", target="true")
    assert true["label"].to_list() == patches.split("test").labels.tolist()


def test_background_and_lost_masks_have_no_score_and_say_why(patches: SampleArrays, result: Evaluation) -> None:
    lost = int(patches.ids[11])
    background = patches.ids[(patches.splits == "test") & ~patches.has_mask].tolist()
    maps, dealt = result.frames["maps"], pl.col("method") == "dealt_maps"
    assert set(maps.filter(dealt)["reason"]) == {"mean_of_maps"} and set(maps.filter(dealt)["grid"]) == {None}
    for frame in (result.frames["localizations"], maps.filter(~dealt)):
        assert set(frame.filter(pl.col("sample_id").is_in(background))["reason"]) == {"background"}
        assert set(frame.filter(sample_id=lost)["reason"]) == {"empty_mask"}
    unscored = result.frames["localizations"].filter(pl.col("sample_id").is_in([*background, lost]))
    assert unscored["iou"].null_count() == unscored.height
    scored = result.frames["localizations"].filter(~pl.col("sample_id").is_in([*background, lost]))
    assert scored["iou"].null_count() == 0 and scored["iou"].is_between(0, 1).all()


def test_scores_can_be_computed_again_from_the_stored_grid(patches: SampleArrays, result: Evaluation) -> None:
    test = patches.split("test")
    rows = result.frames["maps"].filter(method="layer_cam", target="predicted")
    shape = rows["rows"][0], rows["cols"][0]
    grids = np.array(rows["grid"].to_list(), dtype=np.float32).reshape(-1, *shape)
    again = score_grids(grids, test.masks, "relu_max", 0.5)
    stored = result.frames["localizations"].filter(method="layer_cam", target="predicted", policy="otsu")
    np.testing.assert_array_equal(stored["iou"].fill_null(np.nan).to_numpy(), again.otsu_iou)
    np.testing.assert_array_equal(rows["pixel_ap"].fill_null(np.nan).to_numpy(), again.pixel_ap)
    curve = np.array([row if row else [np.nan] * 19 for row in rows["iou_curve"].to_list()])
    np.testing.assert_allclose(curve, again.curve, atol=1e-7)


def test_the_ceiling_is_the_annotation_at_the_resolution_of_the_maps(patches: SampleArrays, result: Evaluation) -> None:
    masks = patches.split("test").masks
    rows = result.frames["maps"].filter(method="ceiling")
    assert set(rows.select("rows", "cols").rows()) == {(2, 2)}
    cells = masks.reshape(-1, 2, 32, 2, 32).mean(axis=(2, 4))
    np.testing.assert_allclose(np.array(rows["grid"].to_list()), cells.reshape(-1, 4), atol=1e-6)
    stored = result.frames["localizations"].filter(method="ceiling")
    (level,) = set(stored["threshold"])
    again = score_grids(cells.astype(np.float32), masks, "relu_max", level).fixed_iou
    np.testing.assert_allclose(stored["iou"].fill_null(np.nan).to_numpy(), again)


def test_dealt_maps_are_scored_with_all_maps_of_other_patients(patches: SampleArrays, result: Evaluation) -> None:
    """No lesion has more than 40 others here, so that none is left out by lot."""
    test = patches.split("test")
    rows = result.frames["maps"].filter(method="grad_cam", target="predicted")
    grids = np.array(rows["grid"].to_list(), dtype=np.float32).reshape(-1, 2, 2)
    activation, _ = activation_maps(grids, (64, 64), CONFIG.scaling)
    correct = result.frames["predictions"]["predicted"].to_numpy() == test.labels
    lesions = test.has_mask & test.masks.any(axis=(1, 2))
    kind = np.array(test.groups)[test.labels]
    for policy in ("fixed", "otsu", "validation", "area"):
        cut = result.frames["localizations"].filter(target="predicted", policy=policy)
        levels = cut.filter(method="grad_cam")["threshold"].to_numpy()
        expected = np.full(len(test.ids), np.nan)
        for row in np.flatnonzero(lesions):
            alike = lesions & (kind == kind[row]) & (correct == correct[row]) & (test.patients != test.patients[row])
            regions = activation[alike] >= levels[alike, None, None].astype(np.float32)
            both, either = (f(regions, test.masks[row]).sum(axis=(1, 2)) for f in (np.logical_and, np.logical_or))
            expected[row] = (both / either).mean() if alike.any() else np.nan
        found = cut.filter(method="dealt_maps")
        assert set(found["threshold"]) == {None} and np.isfinite(expected).any()
        np.testing.assert_allclose(found["iou"].fill_null(np.nan).to_numpy(), expected)


def test_the_headline_is_the_mean_over_correctly_classified_lesions(patches: SampleArrays, result: Evaluation) -> None:
    test = patches.split("test")
    correct = result.frames["predictions"]["predicted"].to_numpy() == test.labels
    lesions = test.has_mask & test.masks.any(axis=(1, 2))
    for method, target, policy in (
        ("grad_cam", "predicted", "validation"),
        ("whole_patch", "none", "mask"),
        ("ceiling", "none", "mask"),
    ):
        iou = result.frames["localizations"].filter(method=method, target=target, policy=policy)["iou"].to_numpy()
        scores = result.frames["run_scores"].filter(name="ll", method=method, target=target, policy=policy)
        for population, group, chosen in (
            ("correct_lesions", "all", lesions & correct),
            ("lesions", "all", lesions),
            ("lesions", "mass", lesions & np.isin(test.labels, [2, 4])),
        ):
            row = scores.filter(population=population, group_name=group).row(0, named=True)
            assert row["n"] == chosen.sum() > 0
            assert row["value"] == pytest.approx(iou[chosen].mean())
            assert row["low"] <= row["value"] <= row["high"]
    product = result.frames["run_scores"].filter(name="acc_x_ll", method="grad_cam", target="predicted", policy="fixed")
    located = (
        result.frames["localizations"].filter(method="grad_cam", target="predicted", policy="fixed")["iou"].to_numpy()
    )
    assert product["value"][0] == pytest.approx(correct.mean() * located[lesions & correct].mean())


def test_every_interval_comes_from_resampled_patients(patches: SampleArrays, result: Evaluation) -> None:
    """Three patches of a patient: resampling patches instead would draw other, narrower intervals."""
    test = patches.split("test")
    clusters = draw(test.patients, CONFIG.resamples, np.random.default_rng(0))
    assert len(np.unique(test.patients)) < len(test.ids)
    correct = result.frames["predictions"]["predicted"].to_numpy() == test.labels
    lesions = test.has_mask & test.masks.any(axis=(1, 2))
    found = result.frames["localizations"].filter(method="whole_patch", target="none", policy="mask")
    iou = found["iou"].fill_null(0.0).to_numpy()
    for name, values, used in (("accuracy", correct, lesions | ~lesions), ("ll", iou, lesions)):
        patients = len(np.unique(test.patients[used]))
        expected = interval(ratios(values[:, None] * 1.0, used[:, None], clusters), CONFIG.confidence, patients)
        key = {"method": "whole_patch", "population": "lesions"} if name == "ll" else {"population": "all"}
        row = result.frames["run_scores"].filter(name=name, group_name="all", **key).row(0, named=True)
        assert (row["low"], row["high"]) == pytest.approx((expected[0][0], expected[1][0]))


def test_run_scores_are_unique_and_null_only_with_a_reason(result: Evaluation) -> None:
    frame = result.frames["run_scores"]
    assert frame.select(KEY).n_unique() == frame.height
    assert (frame["value"].is_null() == frame["reason"].is_not_null()).all()
    assert set(frame["group_name"]) == {"all", "background", "calcification", "mass"}
    accuracy = frame.filter(name="accuracy", group_name="all").row(0, named=True)
    assert accuracy["value"] == pytest.approx(
        np.average(result.frames["class_scores"]["recall"], weights=result.frames["class_scores"]["support"])
    )


def test_curves_are_the_means_of_the_stored_ones(patches: SampleArrays, result: Evaluation) -> None:
    test = patches.split("test")
    correct = result.frames["predictions"]["predicted"].to_numpy() == test.labels
    stored = result.frames["maps"].filter(method="layer_cam", target="true")
    known = stored["iou_curve"].is_not_null().to_numpy()
    for population, chosen in (("lesions", known), ("correct_lesions", known & correct)):
        rows = result.frames["iou_curves"].filter(
            method="layer_cam", target="true", population=population, group_name="all"
        )
        assert rows["threshold"].to_list() == pytest.approx([0.05 * k for k in range(1, 20)])
        curves = np.array(stored["iou_curve"].filter(pl.Series(chosen)).to_list())
        np.testing.assert_allclose(rows["iou"].to_numpy(), curves.mean(axis=0), atol=1e-6)
        assert (rows["low"] <= rows["iou"]).all() and (rows["iou"] <= rows["high"]).all()


def test_the_audits_are_part_of_an_evaluation(patches: SampleArrays, result: Evaluation) -> None:
    test = patches.split("test")
    lesions = test.has_mask & test.masks.any(axis=(1, 2))
    smooth, *alone = (result.frames["occlusions"].filter(variant=name) for name in ("smooth", "texture", "wide"))
    assert sum(map(len, (smooth, *alone))) == len(result.frames["occlusions"])
    for variant in (smooth, *alone):
        assert variant["sample_id"].to_list() == test.ids[lesions].tolist()
        np.testing.assert_allclose(variant["lesion_probabilities"].list.sum().to_numpy(), 1, atol=1e-6)
        assert variant["lesion_change"].is_between(0, 1, closed="right").all()
        assert (variant["control_probabilities"].is_null() == variant["reason"].is_not_null()).all()
        assert (variant["reason"].is_null() == (variant["places"] > 0)).all()
    assert set(smooth["reason"]) <= {None, "no_fair_control"} and smooth["reason"].null_count() > 0
    assert all(set(variant["reason"]) == {"lesion_only"} for variant in alone)
    classes = result.frames["predictions"]["predicted"].to_numpy()[lesions]
    control, lesion = (
        pl.Series([row[c] if row else None for row, c in zip(smooth[name].to_list(), classes, strict=True)])
        for name in ("control_probabilities", "lesion_probabilities")
    )
    difference = (control - lesion).drop_nulls()
    drop = (
        result.frames["run_scores"]
        .filter(name="occlusion_difference", population="lesions", group_name="all")
        .row(0, named=True)
    )
    assert (drop["n"], drop["value"]) == (difference.len(), pytest.approx(difference.mean()))
    together = result.frames["quadrants"].filter(pl.col("label").is_null())
    assert together["n"].sum() == lesions.sum() and together["proportion"].sum() == pytest.approx(1)
    assert result.frames["reliability"]["n"].sum() == len(test.ids)
    assert set(result.frames["subgroup_scores"]["subgroup"]) == {"pathology", "mask_fraction", "view"}
    steps = [(-1, "other samples"), (0, "intact"), (1, "re-measured"), (2, "head")]
    assert result.frames["randomisations"].select("step", "layer").rows()[:4] == steps
    assert result.frames["randomisations"]["n"].max() <= 4
    names = set(result.frames["run_scores"]["name"])
    assert {"calibration_error", "lesion_auc", "malignant_auc", "malignant_specificity"} <= names
    assert {"ceiling_share", "deletion_gain", "insertion_gain"} <= names


def test_every_surroundings_get_a_lesion_of_each_side_from_another_patient(
    patches: SampleArrays, result: Evaluation
) -> None:
    of = {number: (patches.labels[row] > 2, patches.patients[row]) for row, number in enumerate(patches.ids)}
    pairs = result.frames["swaps"].select("sample_id", "donor_id").rows()
    assert pairs and all(of[surroundings][1] != of[donor][1] for surroundings, donor in pairs)
    taken = [surroundings for surroundings, _ in pairs]
    for number in set(taken):
        assert sorted(of[donor][0] for surroundings, donor in pairs if surroundings == number) == [False, True]
    np.testing.assert_allclose(result.frames["swaps"]["probabilities"].list.sum().to_numpy(), 1, atol=1e-6)


def test_the_threshold_is_tuned_on_validation_lesions_alone(patches: SampleArrays, result: Evaluation) -> None:
    masks = patches.masks.copy()
    masks[patches.splits == "test"] = np.roll(masks[patches.splits == "test"], 20, axis=2)
    config = CONFIG.model_copy(update={"randomisation_samples": 0})
    moved = run(replace(patches, masks=masks), config)
    tuned = (pl.col("policy") == "validation") | (pl.col("method") == "ceiling")
    before = result.frames["localizations"].filter(tuned).select("sample_id", "method", "threshold")
    assert before.equals(moved.frames["localizations"].filter(tuned).select("sample_id", "method", "threshold"))
    found = {method: set(rows["threshold"]) for (method,), rows in before.group_by("method")}
    assert found.pop("dealt_maps") == {None}
    assert sorted(found) == ["ceiling", "grad_cam", "layer_cam", "random_weights"]
    assert all(len(levels) == 1 and None not in levels for levels in found.values())


def test_without_validation_lesions_that_policy_is_null_with_a_reason(patches: SampleArrays) -> None:
    splits = np.where((patches.splits == "validation") & patches.has_mask, "train", patches.splits)
    found = run(replace(patches, splits=splits), QUICK)
    rows = found.frames["localizations"].filter(pl.col("policy") == "validation")
    assert rows["iou"].null_count() == rows["threshold"].null_count() == rows.height
    assert set(rows["reason"]) == {"background", "empty_mask", "no_validation_lesions"}
    headline = found.frames["run_scores"].filter(name="ll", method="grad_cam", policy="validation")
    assert headline["value"].null_count() == headline.height and set(headline["reason"]) == {"no_validation_lesions"}


def test_the_same_seed_gives_the_same_frames_with_and_without_the_cache(
    patches: SampleArrays, result: Evaluation, tmp_path: Path
) -> None:
    again = run(patches)
    for name, frame in result.frames.items():
        assert frame.equals(again.frames[name]), name
    cached = run(patches, QUICK, cache=tmp_path)
    assert list(tmp_path.rglob("*.npy"))
    shown = pl.col("method").is_in(["grad_cam", "random_weights"])
    grids = [np.array(r.frames["maps"].filter(shown)["grid"].drop_nulls().to_list()) for r in (result, cached)]
    np.testing.assert_allclose(grids[0], grids[1], atol=1e-4 * np.abs(grids[0]).max())


@pytest.mark.usefixtures("result")
def test_progress_counts_up_to_its_total(calls: list[tuple[int, int]]) -> None:
    assert calls == sorted(calls) and calls[-1][0] == calls[-1][1]
    assert len({total for _, total in calls}) == 1


def test_weights_that_are_not_finite_are_refused_with_the_patch_named(patches: SampleArrays) -> None:
    model = build("resnet18", 5, seed=0)
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    with pytest.raises(EvaluationError, match=f"patch {patches.split('test').ids[0]} is not finite"):
        evaluate(model, inputs_of(patches, CONFIG), "cpu")


def test_per_class_normalisation_reaches_the_model(patches: SampleArrays, result: Evaluation) -> None:
    statistics = tuple(Statistics(code, 0.2 + 0.1 * i, 0.1) for i, code in enumerate(patches.classes))
    leaking = TRAINING.model_copy(update={"normalise": "per_class"})
    given = replace(patches, statistics=statistics)
    found = run(given, QUICK, leaking)
    assert not found.frames["predictions"]["probabilities"].equals(result.frames["predictions"]["probabilities"])


def test_maps_of_one_cell_are_refused(tiny_patches: Callable[..., SampleArrays]) -> None:
    with pytest.raises(EvaluationError, match="one cell"):
        run(tiny_patches(size=32), QUICK)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_maps_within_rounding(patches: SampleArrays, result: Evaluation) -> None:
    found = run(patches, device="cuda")
    grids = [np.array(r.frames["maps"]["grid"].drop_nulls().to_list()) for r in (result, found)]
    np.testing.assert_allclose(grids[0], grids[1], atol=1e-2 * np.abs(grids[0]).max())


def test_an_empty_test_split_is_refused(patches: SampleArrays) -> None:
    with pytest.raises(ValueError, match="test split is empty"):
        run(replace(patches, splits=np.full(len(patches.ids), "train")))


MANY = ("gradient_shap", "lime")


@pytest.fixture(scope="module")
def explained(patches: SampleArrays) -> Evaluation:
    methods = ("grad_cam", "saliency", *MANY)
    asked = EvaluationConfig(methods=methods, resamples=100, randomisation_samples=4, perturbation_samples=5)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(perturbation, "SAMPLES", 16)
        return run(patches, asked)


def test_methods_of_many_passes_explain_as_many_lesions_as_asked_and_the_rest_is_null(explained: Evaluation) -> None:
    maps, places = explained.frames["maps"], explained.frames["localizations"]
    drawn = set(maps.filter(pl.col("grid").is_not_null(), method="lime", target="true")["sample_id"])
    assert len(drawn) == 5
    inside = pl.col("sample_id").is_in(list(drawn))
    for method in MANY:
        own, placed = maps.filter(method=method), places.filter(method=method)
        assert set(own.filter(inside)["rows"]) == {28} and set(own.filter(~inside)["reason"]) == {"not_drawn"}
        assert (
            own.filter(~inside).select("grid", "iou_curve", "hit", "energy").null_count().row(0)
            == (own.filter(~inside).height,) * 4
        )
        assert placed.filter(~inside).select("iou", "dealt_iou", "random_iou").to_series().is_null().all()
        assert (
            placed.filter(inside)["iou"].is_not_null().all() and placed.filter(inside)["random_iou"].is_not_null().all()
        )
    saliency = places.filter(method="saliency", target="predicted", policy="validation")
    assert saliency["iou"].is_not_null().sum() > 5
    scores = explained.frames["run_scores"].filter(population="lesions", group_name="all", target="predicted")
    of = {(row["method"], row["name"]): row for row in scores.iter_rows(named=True)}
    assert all(of[method, name]["n"] == 5 for method in MANY for name in ("hit_rate", "energy", "pixel_ap"))
    faithful = explained.frames["run_scores"].filter(name="insertion_gain")
    assert dict(faithful.select("method", "n").rows()) == dict.fromkeys(("grad_cam", "saliency", *MANY), 4)


def test_every_method_has_baselines_of_its_own(explained: Evaluation) -> None:
    gaps = explained.frames["baseline_differences"].filter(
        population="lesions", group_name="all", target="predicted", policy="validation"
    )
    against = ("whole_patch", "centred_disc", "mean_mask", "random_weights", "dealt_maps")
    for method in ("grad_cam", "saliency", *MANY):
        found = {row["baseline"]: row for row in gaps.filter(method=method).iter_rows(named=True)}
        assert set(found) == set(against)
        places = explained.frames["localizations"].filter(method=method, target="predicted", policy="validation")
        for name, column in (("random_weights", "random_iou"), ("dealt_maps", "dealt_iou")):
            expected = places.select(pl.col("iou") - pl.col(column)).drop_nulls()["iou"]
            assert found[name]["difference"] == pytest.approx(expected.mean()) and found[name]["n"] == len(expected)


def test_malignancy_is_told_from_classes_that_do_not_name_it(patches: SampleArrays) -> None:
    """As margins do not: lesions of every class are of both pathologies."""
    given = inputs_of(patches, QUICK)
    words = [("BENIGN", "MALIGNANT")[n // 5 % 2] if there else None for n, there in enumerate(patches.has_mask)]
    mixed = given.attributes.with_columns(pathology=pl.Series(words, dtype=pl.String))
    found = evaluate(build("resnet18", 5, seed=3), replace(given, attributes=mixed), "cpu").frames["run_scores"]
    rows = {row["name"]: row for row in found.to_dicts() if row["name"].startswith(("pathology_", "malignant_"))}
    test = (patches.splits == "test") & patches.has_mask
    assert rows["pathology_auc"]["n"] == test.sum() and "malignant_auc" not in rows
