"""Calibration error and reliability curve."""

import numpy as np
import polars as pl
import pytest

from lesionlens.evaluation.bootstrap import Clusters, draw
from lesionlens.evaluation.calibration import BINS, RELIABILITY, calibration


def sample(count: int, honest: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Clusters]:
    """Two classes; the label follows the stated probability, or a coin."""
    generator = np.random.default_rng(seed)
    first = generator.uniform(0, 1, count).astype(np.float32)
    chance = first if honest else np.full(count, 0.5)
    labels = (generator.random(count) > chance).astype(np.int64)
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
    assert curve["n"].sum() == 500 and curve.height == BINS and curve.schema == pl.Schema(RELIABILITY)
    assert (used["low"] <= used["accuracy"]).all() and (used["accuracy"] <= used["high"]).all()


def test_honest_probabilities_have_a_small_error_and_made_up_ones_a_large_one() -> None:
    assert error(*sample(5000, honest=True)) < 0.04
    assert error(*sample(5000, honest=False)) > 0.2


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
