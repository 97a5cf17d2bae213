"""Paired comparisons: McNemar and Holm against known values, differences against plain computation."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from lesionlens.config import EvaluationConfig
from lesionlens.evaluation.stats import COMPARISONS, compare, holm, mcnemar

CONFIG = EvaluationConfig(resamples=400)


def samples(evaluation: int, correct: np.ndarray, iou: np.ndarray, lesion: np.ndarray | None = None) -> pl.DataFrame:
    count = len(correct)
    lesions = np.ones(count, dtype=np.bool_) if lesion is None else lesion
    return pl.DataFrame(
        {
            "evaluation_id": [evaluation] * count,
            "patch_id": list(range(count)),
            "patient": [f"P_{i // 2}" for i in range(count)],
            "is_lesion": lesions,
            "correct": correct,
            "iou": [value if kept else None for value, kept in zip(iou.tolist(), lesions, strict=True)],
        }
    )


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 9), (10, 10), (2, 30)])
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected)


def test_mcnemar_takes_thousands_of_samples() -> None:
    assert 0 <= mcnemar(900, 2100) < 1e-50


def test_holm_steps_down_and_never_decreases() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1.0, 1.0])
    assert len(holm(np.zeros(0))) == 0


def test_accuracy_and_ll_are_compared_on_the_same_samples() -> None:
    generator = np.random.default_rng(0)
    count = 200
    lesion = np.arange(count) % 4 != 0
    correct_a, correct_b = generator.random(count) < 0.9, generator.random(count) < 0.6
    iou_a, iou_b = generator.random(count), generator.random(count) * 0.2
    frame = compare(
        pl.concat([samples(2, correct_b, iou_b, lesion), samples(1, correct_a, iou_a, lesion)]), CONFIG, seed=0
    )
    assert frame.schema == pl.Schema(COMPARISONS)
    accuracy, located = frame.row(0, named=True), frame.row(1, named=True)
    assert [(row["evaluation_a"], row["evaluation_b"], row["score"]) for row in (accuracy, located)] == [
        (1, 2, "accuracy"),
        (1, 2, "ll"),
    ]
    assert accuracy["value_a"] == pytest.approx(correct_a.mean()) and accuracy["n"] == count
    assert accuracy["p"] == pytest.approx(
        mcnemar(int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum()))
    )
    both = lesion & correct_a & correct_b
    assert located["n"] == both.sum()
    assert located["difference"] == pytest.approx(iou_a[both].mean() - iou_b[both].mean())
    assert 0 < located["low"] < located["difference"] < located["high"]
    assert located["p"] == located["p_holm"] == pytest.approx(2 / 401)


def test_equal_evaluations_do_not_differ() -> None:
    correct, iou = np.arange(40) % 3 > 0, np.linspace(0, 1, 40)
    frame = compare(pl.concat([samples(1, correct, iou), samples(2, correct, iou)]), CONFIG, seed=0)
    assert frame["difference"].to_list() == [0, 0] and frame["p"].to_list() == [1, 1]


def test_holm_runs_over_the_pairs_of_one_score() -> None:
    generator = np.random.default_rng(1)
    frames = [samples(i, generator.random(80) < 0.5 + 0.15 * i, generator.random(80)) for i in range(3)]
    frame = compare(pl.concat(frames), CONFIG, seed=0)
    assert frame.height == 6
    for score in ("accuracy", "ll"):
        part = frame.filter(pl.col("score") == score)
        np.testing.assert_allclose(part["p_holm"].to_numpy(), holm(part["p"].to_numpy()))


def test_nothing_to_compare_gives_an_empty_frame() -> None:
    one = samples(1, np.ones(4, dtype=np.bool_), np.ones(4))
    other = samples(2, np.ones(4, dtype=np.bool_), np.ones(4)).with_columns(pl.col("patch_id") + 100)
    for frame in (
        compare(one, CONFIG, 0),
        compare(pl.concat([one, other]), CONFIG, 0),
        compare(one.clear(), CONFIG, 0),
    ):
        assert frame.height == 0 and frame.schema == pl.Schema(COMPARISONS)


def test_without_commonly_correct_lesions_only_accuracy_is_compared() -> None:
    right, wrong = np.ones(6, dtype=np.bool_), np.zeros(6, dtype=np.bool_)
    frame = compare(pl.concat([samples(1, right, np.ones(6)), samples(2, wrong, np.ones(6))]), CONFIG, seed=0)
    assert frame["score"].to_list() == ["accuracy"] and frame["difference"].to_list() == [1]


def test_samples_of_one_patient_say_nothing_of_a_difference() -> None:
    frame = pl.concat([samples(n, np.array([n == 1, True]), np.array([0.2, 0.1 * n])) for n in (1, 2)])
    assert frame["patient"].n_unique() == 1 and compare(frame, CONFIG, seed=0).height == 0
