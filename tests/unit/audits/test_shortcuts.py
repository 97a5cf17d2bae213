"""Shortcut audit on windows that give the class away, and on noise."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lesionlens.audits.shortcuts import SHORTCUTS, intensity, sharpness, shortcut_audit
from lesionlens.config import EvaluationConfig
from lesionlens.records import SampleArrays
from tests.unit.audits.repeated import more_of_the_same

CONFIG = EvaluationConfig(resamples=200)


def test_shortcuts_that_give_the_class_away_are_found(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches(count=300)
    generator = np.random.default_rng(0)
    windows = 100.0 * np.exp(generator.normal(0, 0.05, (300, 2))) * (1 + patches.labels)[:, None]
    noise = replace(patches, pixels=generator.integers(0, 256, patches.pixels.shape).astype(np.uint8))
    frame = shortcut_audit(noise, windows, CONFIG, seed=0)
    assert frame.schema == SHORTCUTS
    accuracy = dict(zip(frame["features"], frame["accuracy"], strict=True))
    assert list(accuracy) == ["majority", "size", "intensity", "sharpness", "all"]
    assert accuracy["size"] > 0.9 and accuracy["all"] > 0.7
    assert max(accuracy["intensity"], accuracy["sharpness"]) < 0.4
    assert "size" not in shortcut_audit(noise, None, CONFIG, seed=0)["features"]


def test_more_patches_of_the_same_patients_make_no_regression_surer(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()
    many = more_of_the_same(patches, np.flatnonzero(patches.splits == "test").tolist())
    once, thrice = (shortcut_audit(of, None, CONFIG, seed=0) for of in (patches, many))
    assert (once["n"][0], thrice["n"][0]) == (20, 60) and (once["low"] < once["high"]).all()
    columns = ["accuracy", "low", "high"]
    np.testing.assert_allclose(thrice.select(columns).to_numpy(), once.select(columns).to_numpy(), atol=1e-12)


def test_one_class_leaves_nothing_to_predict_and_no_test_split_nothing_to_audit(
    tiny_patches: Callable[..., SampleArrays],
) -> None:
    patches = tiny_patches()
    frame = shortcut_audit(replace(patches, labels=np.zeros_like(patches.labels)), None, CONFIG, seed=0)
    assert frame.select("features", "accuracy", "high").rows() == [("majority", 1.0, 1.0)]
    assert 0.5 < frame["low"][0] < 1  # a few patients, all of one class, promise no certainty
    with pytest.raises(ValueError, match="it needs a training and a test split"):
        shortcut_audit(replace(patches, splits=np.full(len(patches.ids), "train")), None, CONFIG, seed=0)


def test_blur_lowers_sharpness_and_grey_levels_are_what_they_are() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 40, 40)).astype(np.uint8)
    blurred = np.repeat(np.repeat(noise[:, ::4, ::4], 4, axis=1), 4, axis=2)
    assert sharpness(blurred)[0, 0] < sharpness(noise)[0, 0]
    np.testing.assert_allclose(intensity(np.full((1, 8, 8), 7, np.uint8))[0], [7, 0, 7, 7, 7, 7, 7])
