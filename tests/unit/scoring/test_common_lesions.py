"""LL over common samples against plain filtering."""

import numpy as np
import polars as pl
import pytest

from lesionlens.config import EvaluationConfig
from lesionlens.scoring.localization import STUDY_SCORES, common_scores

CONFIG = EvaluationConfig(resamples=200)
COUNT = 60


def made(evaluations: tuple[int, ...], seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
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
    samples, localizations = made((3, 5, 9))
    frame = common_scores(samples, localizations, CONFIG, seed=0)
    assert frame.schema == pl.Schema(STUDY_SCORES) and set(frame["population"]) == {"common_lesions"}
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
    samples, localizations = made((1, 2))
    fewer = samples.filter(~((pl.col("evaluation_id") == 2) & (pl.col("sample_id") < 30)))
    frame = common_scores(fewer, localizations, CONFIG, seed=0)
    right = samples["correct"].to_numpy().reshape(2, COUNT).all(axis=0)
    expected = right & (np.arange(COUNT) % 3 > 0) & (np.arange(COUNT) >= 30)
    assert set(frame.filter(name="ll", group_name="all")["n"]) == {expected.sum()}


def test_models_that_agree_on_nothing_have_no_common_score_and_say_why() -> None:
    samples, localizations = made((1, 2))
    apart = samples.with_columns(correct=pl.col("evaluation_id") == 1)
    frame = common_scores(apart, localizations, CONFIG, seed=0)
    assert frame["value"].null_count() == frame.height > 0
    assert set(frame["reason"]) == {"no_samples"} and set(frame["n"]) == {0}


def test_many_patches_of_a_patient_say_no_more_than_one() -> None:
    once = made((1, 2))
    often = [pl.concat([part.with_columns(sample_id=5 * pl.col("sample_id") + n) for n in range(5)]) for part in once]
    few, many = common_scores(*once, CONFIG, seed=0), common_scores(*often, CONFIG, seed=0)
    assert (5 * few["n"]).to_list() == many["n"].to_list()
    for column in ("value", "low", "high"):
        np.testing.assert_allclose(few[column].to_numpy(), many[column].to_numpy(), rtol=1e-9, err_msg=column)


def test_no_evaluations_give_an_empty_frame() -> None:
    samples, localizations = made((1,))
    assert common_scores(samples.clear(), localizations.clear(), CONFIG, 0).schema == pl.Schema(STUDY_SCORES)
