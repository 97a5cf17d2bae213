"""Calibration error, reliability curve, and the temperature of the validation split."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from lesionlens.frames import FRAMES
from lesionlens.scoring.bootstrap import Clusters, draw
from lesionlens.scoring.calibration import BINS, calibrated_error, calibration, cross_entropy, validation_scores


def sample(count: int, honest: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Clusters]:
    """Two classes; the label follows the stated probability, or a coin."""
    generator = np.random.default_rng(seed)
    first = generator.uniform(0, 1, count).astype(np.float32)
    likely = first if honest else np.full(count, 0.5)
    labels = (generator.random(count) > likely).astype(np.int64)
    clusters = draw(np.arange(count).astype(np.str_), 200, generator)
    return np.stack([first, 1 - first], axis=1), labels, clusters


def test_the_error_is_the_weighted_gap_of_the_curve() -> None:
    probabilities, labels, clusters = sample(500, honest=False)
    score, curve = calibration(probabilities, labels, clusters, 0.95)
    found = score.row(0, named=True)
    used = curve.drop_nulls()
    gap = np.abs(used["confidence"].to_numpy() - used["accuracy"].to_numpy())
    assert (found["name"], found["n"]) == ("calibration_error", 500)
    assert found["value"] == pytest.approx(np.average(gap, weights=used["n"].to_numpy()), abs=1e-6)
    assert found["low"] < found["value"] < found["high"]
    assert curve["n"].sum() == 500 and curve.height == BINS and curve.schema == FRAMES["reliability"]
    assert (used["low"] <= used["accuracy"]).all() and (used["accuracy"] <= used["high"]).all()


def test_honest_probabilities_have_a_small_error_and_made_up_ones_a_large_one() -> None:
    assert error(*sample(5000, honest=True)) < 0.04
    assert error(*sample(5000, honest=False)) > 0.2


def test_the_interval_holds_its_value_however_honest_the_model() -> None:
    """Resampled errors are larger than the value, as each bin's gap is of noise: unshifted, they miss it in one study
    of nine."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    for study in range(100):
        found = calibration(*sample(int(generator.integers(100, 600)), honest=True, seed=study), 0.95)[0]
        row = found.row(0, named=True)
        assert 0 <= row["low"] <= row["value"] <= row["high"], (study, row)


def test_the_interval_of_made_up_probabilities_lies_above_the_error_of_a_calibrated_model() -> None:
    for study in range(20):
        probabilities, labels, clusters = sample(300, honest=False, seed=study)
        row = calibration(probabilities, labels, clusters, 0.95)[0].row(0, named=True)
        assert row["low"] > calibrated_error(probabilities.max(axis=1)) > 0.02


def test_the_error_of_a_calibrated_model_is_the_mean_of_simulated_ones() -> None:
    """The exact expectation against the mean of simulated studies of the same confidences."""
    generator = np.random.default_rng(0)
    top = generator.uniform(0.3, 1, 80)
    correct = (generator.random((4000, 80)) < top).astype(np.float64)
    member = np.minimum((top * BINS).astype(np.int64), BINS - 1)
    gaps = [np.abs((correct - top)[:, member == number].sum(axis=1)) for number in range(BINS)]
    simulated = np.sum(gaps, axis=0) / 80
    assert calibrated_error(top) == pytest.approx(simulated.mean(), abs=4 * simulated.std() / 4000**0.5)
    assert calibrated_error(np.ones(5)) == 0
    assert calibrated_error(np.array([0.5])) == 0.5


def test_certainty_falls_into_the_last_bin() -> None:
    probabilities, labels = np.array([[1, 0], [0, 1]], np.float32), np.array([0, 0])
    clusters = draw(np.array(["a", "b"]), 10, np.random.default_rng(0))
    _, curve = calibration(probabilities, labels, clusters, 0.95)
    assert curve.row(BINS - 1, named=True)["n"] == 2
    assert error(probabilities, labels, clusters) == pytest.approx(0.5)
    assert curve.row(0, named=True)["accuracy"] is None


def test_certainty_shares_its_bin_with_what_is_nearly_certain() -> None:
    """torchmetrics alone puts a probability of exactly 1 into a sixteenth bin, which the curve does not have."""
    top = np.array([1, 0.95, 1, 0.95], np.float32)
    probabilities, labels = np.stack([top, 1 - top], axis=1), np.array([1, 0, 1, 0])
    clusters = draw(np.array(list("abcd")), 100, np.random.default_rng(0))
    assert error(probabilities, labels, clusters) == pytest.approx(top.mean() - 0.5)


def error(probabilities: np.ndarray, labels: np.ndarray, clusters: Clusters) -> float:
    return float(calibration(probabilities, labels, clusters, 0.95)[0]["value"][0])


def logits_and_labels(count: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three classes, and labels that follow their softmax exactly."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, 3))
    drawn = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, drawn.astype(np.int64)


def validated(logits: np.ndarray, labels: np.ndarray) -> dict:
    frame = validation_scores(softmax(logits, axis=1).astype(np.float32), labels)
    assert frame.schema == FRAMES["validations"]
    return frame.row(0, named=True)


@pytest.mark.parametrize("factor", [1 / 3, 1.0, 3.0])
def test_the_temperature_is_the_factor_of_the_logits(factor: float) -> None:
    logits, labels = logits_and_labels()
    found, honest = validated(factor * logits, labels), validated(logits, labels)
    assert found["temperature"] == pytest.approx(factor, rel=0.05)
    assert found["scaled_loss"] == pytest.approx(honest["scaled_loss"], abs=1e-4), "whatever the factor"
    assert found["loss"] > found["scaled_loss"] + (0.02 if factor != 1 else -1e-9)
    assert found["loss"] == pytest.approx(cross_entropy(factor * logits, labels), abs=1e-5)
    assert found["accuracy"] == honest["accuracy"] and found["n"] == 20_000


def test_labels_that_follow_nothing_have_the_loss_of_even_probabilities() -> None:
    logits, _ = logits_and_labels(5000)
    labels = np.random.default_rng(9).integers(0, 3, 5000)
    found = validated(3 * logits, labels)
    assert found["loss"] > 2 and found["scaled_loss"] == pytest.approx(np.log(3), abs=0.005)
    assert found["temperature"] > 20


def test_scaling_never_raises_the_loss_and_zeros_stay_finite() -> None:
    """All right: the loss falls to the end of the range. A certain error: its loss is large, not infinite."""
    right = validation_scores(np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), np.array([0, 1])).row(0, named=True)
    assert right["scaled_loss"] <= right["loss"] and right["temperature"] < 0.1
    wrong = validation_scores(np.array([[1, 0], [0, 1]], np.float32), np.array([0, 0])).row(0, named=True)
    assert np.isfinite(wrong["loss"]) and wrong["scaled_loss"] == pytest.approx(np.log(2), abs=0.2)
    assert validation_scores(np.zeros((0, 2), np.float32), np.zeros(0, np.int64)).schema == FRAMES["validations"]
