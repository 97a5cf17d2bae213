"""Operating points: thresholds of the validation split, sensitivity of the test split by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from lesionlens.frames import FRAMES
from lesionlens.records import SampleArrays
from lesionlens.scoring.operating import CURVE, area, operating_points, sensitivities, threshold

VIEWS = {"malignant": ([1], [0, 1])}


def split(
    scores: list[float] | np.ndarray, truth: list[int] | np.ndarray, patients: list[str] | None = None
) -> tuple[SampleArrays, np.ndarray, np.ndarray]:
    """Samples, probabilities of two classes and breasts (one per sample), of one patient each by default."""
    count = len(scores)
    second = np.asarray(scores, dtype=np.float32)
    named = np.array([f"P_{i:04d}" for i in range(count)] if patients is None else patients, dtype=np.str_)
    samples = SampleArrays(
        digest="operating",
        classes=("B", "M"),
        ids=np.arange(count, dtype=np.int64),
        pixels=np.zeros((count, 2, 2), dtype=np.uint8),
        masks=np.ones((count, 2, 2), dtype=np.bool_),
        labels=np.asarray(truth, dtype=np.int64),
        splits=np.full(count, "test"),
        patients=named,
        has_mask=np.ones(count, dtype=np.bool_),
        groups=("mass", "mass"),
        statistics=(),
    )
    return samples, np.stack([1 - second, second], axis=1), np.char.add(named, np.where(np.arange(count) % 2, "R", "L"))


def points(test: tuple, validation: tuple, seed: int = 0) -> dict[tuple[str, str, float | None], dict]:
    """Rows by level, measure and wanted specificity."""
    found = operating_points(test, validation, VIEWS, 200, 0.95, seed)
    assert found.schema == FRAMES["operating_points"]
    return {(row["level"], row["measure"], row["at"]): row for row in found.iter_rows(named=True)}


# ten negatives 0.05, 0.10, ..., 0.50: eight of them are at most 0.40, nine at most 0.45
NEGATIVES = [round(0.05 * k, 2) for k in range(1, 11)]
VALIDATION = split([*NEGATIVES, 0.9, 0.95], [0] * 10 + [1, 1])


def test_the_threshold_is_the_validation_splits_and_the_proportions_are_the_test_splits() -> None:
    test = split([0.2, 0.41, 0.43, 0.46, 0.8, 0.3, 0.42, 0.9, 0.1, 0.2], [1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    found = points(test, VALIDATION)
    for at, level, sensitivity, specificity in ((0.8, 0.40, 4 / 5, 3 / 5), (0.9, 0.45, 2 / 5, 4 / 5)):
        for measure, value in (("sensitivity", sensitivity), ("specificity", specificity)):
            row = found["lesion", measure, at]
            assert row["threshold"] == pytest.approx(level) and row["value"] == pytest.approx(value)
            assert (row["n"], row["question"], row["reason"]) == (5, "diagnosis", None)
            assert row["low"] <= row["value"] <= row["high"]
    # won pairs: 0.2 beats 0.1 and half of 0.2; 0.41 three; 0.43 and 0.46 four each; 0.8 four
    assert found["lesion", "auc", None]["value"] == pytest.approx((1.5 + 3 + 4 + 4 + 4) / 25)


def test_scores_of_the_test_split_move_no_threshold() -> None:
    shifted = split([0.7, 0.8, 0.9, 0.6, 0.7, 0.8], [0, 0, 0, 1, 1, 1])
    found = points(shifted, VALIDATION)
    assert found["lesion", "sensitivity", 0.8]["threshold"] == pytest.approx(0.4)
    assert found["lesion", "sensitivity", 0.8]["value"] == 1 and found["lesion", "specificity", 0.8]["value"] == 0


def test_patients_and_breasts_score_as_their_highest_sample() -> None:
    test = split([0.1, 0.9, 0.2, 0.3, 0.6, 0.1], [1, 0, 0, 0, 0, 1], ["a", "a", "b", "b", "c", "c"])
    found = points(test, VALIDATION)
    # a: positive, 0.9; b: negative, 0.3; c: positive, 0.6
    assert found["patient", "auc", None]["value"] == 1 and found["patient", "auc", None]["n"] == 3
    assert found["patient", "sensitivity", 0.8]["value"] == 1 and found["patient", "sensitivity", 0.8]["n"] == 2
    # breasts: each of one sample here
    assert found["breast", "auc", None]["value"] == found["lesion", "auc", None]["value"] < 0.2


def test_intervals_of_random_scores_hold_a_half() -> None:
    held = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        test, tuning = (split(generator.random(80), generator.permutation(np.arange(80) % 2)) for _ in range(2))
        row = points(test, tuning)["lesion", "auc", None]
        held += row["low"] <= 0.5 <= row["high"]
    assert held >= 34, "fewer than 34 of 40 have a probability below 0.01 where 95 % hold"


def test_scores_that_know_the_truth_have_an_interval_above_a_half() -> None:
    truth = np.arange(80) % 2
    scores = 0.3 * truth + 0.6 * np.random.default_rng(0).random(80)
    row = points(split(scores, truth), VALIDATION)["lesion", "auc", None]
    assert row["low"] > 0.6


def test_what_cannot_be_known_is_null_and_says_why() -> None:
    truth = np.arange(20) % 2
    found = points(split(np.linspace(0, 1, 20), truth), split([0.5, 0.6], [1, 1]))
    assert found["lesion", "sensitivity", 0.8]["reason"] == "no_validation_samples"
    assert found["lesion", "sensitivity", 0.8]["value"] is None is found["lesion", "sensitivity", 0.8]["threshold"]
    assert found["lesion", "auc", None]["value"] is not None
    one_sided = points(split([0.2, 0.4, 0.6], [0, 0, 0]), VALIDATION)
    assert one_sided["lesion", "auc", None]["reason"] == "no_other_class"
    assert one_sided["lesion", "sensitivity", 0.9]["reason"] == "no_samples"
    assert one_sided["lesion", "specificity", 0.9]["value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("count", [1, 3, 10, 37, 100])
@pytest.mark.parametrize("wanted", [0.8, 0.9])
def test_the_threshold_is_the_lowest_score_with_the_specificity(count: int, wanted: float) -> None:
    scores = np.random.default_rng(count).permutation(count).astype(np.float32)
    level = threshold(scores, wanted)
    assert level is not None and (scores <= level).mean() >= wanted > (scores < level).mean()
    assert threshold(scores[:0], wanted) is None


def test_ties_count_half() -> None:
    truth = np.array([True, False, True, False])
    assert area(np.zeros(4), truth) == 0.5 and np.isnan(area(np.zeros(4), np.ones(4, dtype=np.bool_)))


def test_the_curve_is_that_of_an_independent_library() -> None:
    """Also where scores tie. Where the curve rises upright, the highest sensitivity counts."""
    random = np.random.default_rng(0)
    for decimals in (1, 3):
        truth = random.random(90) < 0.4
        scores = np.round(random.normal(size=90) + truth, decimals)
        false_rate, true_rate, _ = roc_curve(truth, scores, drop_intermediate=False)
        wanted = np.round(1 - np.array(CURVE), 10)
        expected = [max(true_rate[false_rate == at], default=np.interp(at, false_rate, true_rate)) for at in wanted]
        assert sensitivities(scores, truth, np.array(CURVE)) == pytest.approx(expected)
    perfect = sensitivities(np.array([0.1, 0.2, 0.8]), np.array([False, False, True]), np.array(CURVE))
    assert perfect.tolist() == [1.0] * len(CURVE)


def test_the_curve_of_patients_is_of_their_highest_scores() -> None:
    """Patients a (malignant, 0.9), b (0.6, of two samples) and c (malignant, 0.4)."""
    test = split([0.9, 0.2, 0.6, 0.1, 0.4], [1, 0, 0, 0, 1], ["a", "a", "b", "b", "c"])
    found = points(test, test)
    curve = {at: row["value"] for (level, measure, at), row in found.items() if (level, measure) == ("patient", "roc")}
    assert list(curve) == list(CURVE) and curve[1.0] == 0.5 and curve[0.0] == 1.0
    assert {row["n"] for (level, measure, _), row in found.items() if (level, measure) == ("patient", "roc")} == {3}
    alone = split([0.9, 0.2], [1, 1])
    assert not [key for key in points(alone, alone) if key[1] == "roc"]
