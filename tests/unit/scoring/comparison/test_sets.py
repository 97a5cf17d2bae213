"""One model on two data sets: nulls, plain computation, and what never varies."""

import numpy as np
import polars as pl
import pytest

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.scoring.comparison.sets import between_sets

CONFIG = EvaluationConfig(resamples=400)
CLASSES = ("B", "BM", "MM")


def drawn_set(seed: int, signal: float, patients: int = 60, codes: tuple[str, ...] = CLASSES) -> pl.DataFrame:
    """Samples of one model, two a patient; logits of the true class raised by `signal`."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, len(codes), 2 * patients)
    logits = generator.normal(size=(2 * patients, 3))
    logits[np.arange(2 * patients), [CLASSES.index(codes[k]) for k in truth]] += signal
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    lesion = [codes[k] != "B" for k in truth]
    iou = generator.uniform(0, 0.6, 2 * patients)
    return pl.DataFrame(
        {
            "patient": [f"P_{n // 2}" for n in range(2 * patients)],
            "code": [codes[k] for k in truth],
            "is_lesion": lesion,
            "predicted": [CLASSES[k] for k in logits.argmax(axis=1)],
            "probabilities": probabilities.tolist(),
            "iou": [value if kept else None for value, kept in zip(iou.tolist(), lesion, strict=True)],
            "hit": [bool(value > 0.3) if kept else None for value, kept in zip(iou.tolist(), lesion, strict=True)],
        }
    )


def test_a_model_at_chance_elsewhere_is_found_there_and_the_difference_is_above_0() -> None:
    found = {
        row["measure"]: row for row in between_sets(drawn_set(1, 3), drawn_set(2, 0), CLASSES, CONFIG, 0).to_dicts()
    }
    for measure, chance in (("accuracy", 1 / 3), ("balanced_accuracy", 1 / 3), ("auc", 0.5)):
        assert found[measure]["external_low"] < chance < found[measure]["external_high"]
        assert found[measure]["difference_low"] > 0.2
    for measure in ("ll", "hit_rate"):  # maps are as good in both
        assert found[measure]["difference_low"] < 0 < found[measure]["difference_high"]


def test_sets_of_one_distribution_differ_by_0_in_95_of_100_draws() -> None:
    held = [
        row["difference_low"] <= 0 <= row["difference_high"]
        for seed in range(60)
        for row in between_sets(drawn_set(2 * seed, 1), drawn_set(2 * seed + 1, 1, 40), CLASSES, CONFIG, 0).to_dicts()
        if row["measure"] == "accuracy"
    ]
    assert len(held) == 60 and 53 <= sum(held) < 60 + 1


def test_scores_of_two_sets_are_those_of_plain_computation() -> None:
    frame, other = drawn_set(5, 1), drawn_set(6, 1, codes=("B", "MM"))
    found = {row["measure"]: row for row in between_sets(frame, other, CLASSES, CONFIG, 0).to_dicts()}
    right = frame["code"] == frame["predicted"]
    assert found["accuracy"]["internal"] == right.mean() and found["accuracy"]["internal_n"] == 120
    recalls = [right.filter(frame["code"] == code).mean() for code in ("B", "MM")]  # those of both sets
    assert found["balanced_accuracy"]["internal"] == pytest.approx(sum(recalls) / 2)
    lesions = frame.filter(right & pl.col("is_lesion"))
    assert found["ll"]["internal"] == pytest.approx(lesions["iou"].mean())
    assert found["hit_rate"]["internal"] == pytest.approx(lesions["hit"].mean())
    assert found["ll"]["internal_n"] == lesions.height
    assert found["ll"]["internal_patients"] == lesions["patient"].n_unique()


def test_what_never_varies_has_an_interval_and_what_is_missing_a_reason() -> None:
    right = drawn_set(1, 50, patients=12)
    found = {row["measure"]: row for row in between_sets(right, drawn_set(2, 50, 12), CLASSES, CONFIG, 0).to_dicts()}
    row = found["accuracy"]
    assert row["difference"] == 0 and row["difference_low"] < -0.1 and row["difference_high"] > 0.1
    bare = drawn_set(3, 50, 12, codes=("B",))
    found = {row["measure"]: row for row in between_sets(right, bare, CLASSES, CONFIG, 0).to_dicts()}
    assert found["ll"]["external"] is None and found["ll"]["reason"] == "no_samples" and found["ll"]["external_n"] == 0
