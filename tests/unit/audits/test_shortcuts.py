"""Shortcut audit on samples whose window, surroundings or lesion give the class away, and on noise; the reference."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from lesionlens.audits.shortcuts import PENALTIES, SHORTCUTS, block_means, outside, reference, shortcut_audit
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.models.backbones import build
from lesionlens.records import SampleArrays
from lesionlens.training.augment import draw_variants
from lesionlens.training.inputs import Inputs
from tests.unit.audits.repeated import more_of_the_same

CONFIG = EvaluationConfig(resamples=200)


def accuracies(frame: pl.DataFrame) -> dict[str, float]:
    found = frame.filter(question="class")
    return dict(zip(found["features"], found["accuracy"], strict=True))


def test_windows_that_give_the_class_away_are_found(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches(count=300)
    generator = np.random.default_rng(0)
    windows = 100.0 * np.exp(generator.normal(0, 0.05, (300, 2))) * (1 + patches.labels)[:, None]
    noise = replace(patches, pixels=generator.integers(0, 256, patches.pixels.shape).astype(np.uint8))
    frame = shortcut_audit(noise, windows, {}, CONFIG, seed=0)
    assert frame.schema == SHORTCUTS
    accuracy = accuracies(frame)
    assert list(accuracy) == ["majority", "intensity", "sharpness", "surroundings", "size"]
    assert accuracy["size"] > 0.9
    assert max(accuracy["intensity"], accuracy["sharpness"], accuracy["surroundings"]) < 0.4
    assert "size" not in shortcut_audit(noise, None, {}, CONFIG, seed=0)["features"]


def test_the_lesion_itself_is_no_shortcut_and_its_surroundings_are(tiny_patches: Callable[..., SampleArrays]) -> None:
    """Grey that tells the class: inside the annotation alone, or outside of it alone; the same numbers otherwise."""
    patches = tiny_patches(count=300)
    noise = np.random.default_rng(0).integers(90, 110, patches.pixels.shape)
    telling = noise + 20 * patches.labels[:, None, None]
    views = {"malignant": ([3, 4], [1, 2, 3, 4])}
    inside, beside = (
        shortcut_audit(replace(patches, pixels=pixels.astype(np.uint8)), None, views, CONFIG, seed=0)
        for pixels in (np.where(patches.masks, telling, noise), np.where(patches.masks, noise, telling))
    )
    assert accuracies(inside)["surroundings"] < 0.5 and accuracies(beside)["surroundings"] > 0.9
    aucs = [
        frame.filter(question="diagnosis", features="surroundings").row(0, named=True) for frame in (inside, beside)
    ]
    assert aucs[0]["low"] < 0.5 < aucs[0]["high"] and aucs[1]["low"] > 0.8


def test_more_patches_of_the_same_patients_make_no_regression_surer(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()
    many = more_of_the_same(patches, np.flatnonzero(patches.splits == "test").tolist())
    once, thrice = (shortcut_audit(of, None, {}, CONFIG, seed=0) for of in (patches, many))
    assert (once["n"][0], thrice["n"][0]) == (20, 60) and (once["low"] < once["high"]).all()
    majority = [
        frame.filter(features="majority").select("accuracy", "low", "high").to_numpy() for frame in (once, thrice)
    ]
    np.testing.assert_allclose(*majority, atol=1e-12)
    for name in ("intensity", "surroundings"):
        widths = [float((f["high"] - f["low"])[0]) for f in (frame.filter(features=name) for frame in (once, thrice))]
        assert widths[1] > 0.8 * widths[0], name


def test_one_class_leaves_nothing_to_predict_and_no_test_split_nothing_to_audit(
    tiny_patches: Callable[..., SampleArrays],
) -> None:
    patches = tiny_patches()
    frame = shortcut_audit(replace(patches, labels=np.zeros_like(patches.labels)), None, {}, CONFIG, seed=0)
    assert frame.select("features", "accuracy", "high").rows() == [("majority", 1.0, 1.0)]
    assert 0.5 < frame["low"][0] < 1  # a few patients, all of one class, promise no certainty
    with pytest.raises(ValueError, match="it needs a training and a test split"):
        shortcut_audit(replace(patches, splits=np.full(len(patches.ids), "train")), None, {}, CONFIG, seed=0)


def test_blur_lowers_sharpness_and_grey_levels_are_those_outside() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)
    blurred = np.repeat(np.repeat(noise[::4, ::4], 4, axis=0), 4, axis=1)
    nothing = np.zeros((40, 40), dtype=np.bool_)
    assert outside(blurred, nothing)[7] < outside(noise, nothing)[7]
    region = nothing.copy()
    region[10:20, 10:20] = True
    grey = np.where(region, 200, 7).astype(np.uint8)
    np.testing.assert_allclose(outside(grey, region), [7, 0, 7, 7, 7, 7, 7, 0, 0])
    np.testing.assert_allclose(outside(grey, ~nothing), 0)


def test_the_reference_reads_what_features_tell_and_no_more(tiny_patches: Callable[..., SampleArrays]) -> None:
    """A class in one of 40 numbers, under noise, is found; in noise alone nothing is."""
    patches = tiny_patches(count=400)
    variants = draw_variants(patches, "flips")
    assert variants is not None
    rows, noise = np.concatenate([np.arange(400), variants.of]), np.random.default_rng(0)
    blind = noise.normal(size=(len(rows), 40)).astype(np.float32)
    telling = blind.copy()
    telling[:, 7] += 2 * patches.labels[rows]
    test = patches.split("test").labels
    found = {}
    for name, means in (("blind", blind), ("telling", telling)):
        made = reference(means, patches, variants.of)
        assert made is not None and made[0].shape == (len(test), len(patches.classes))
        np.testing.assert_allclose(made[0].sum(axis=1), 1, rtol=1e-5)
        found[name] = float((made[0].argmax(axis=1) == test).mean()), made[1]
    assert found["telling"][0] > 0.6 and found["blind"][0] < 0.35 and found["telling"][1] in PENALTIES
    swapped = replace(patches, labels=np.where(patches.splits == "test", 0, patches.labels))
    first, again = (reference(telling, each, variants.of) for each in (patches, swapped))  # test labels are not seen
    assert first is not None and again is not None and np.array_equal(first[0], again[0])
    one = replace(patches, labels=np.zeros_like(patches.labels))
    assert reference(telling, one, variants.of) is None
    unchecked = replace(patches, splits=np.where(patches.splits == "train", "train", "test"))
    assert reference(telling, unchecked, variants.of) is None


def test_means_are_those_of_the_block_whether_stored_or_not(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches, model = tiny_patches(), build("resnet18", 5, 0)
    inputs = Inputs(patches, "train", torch.device("cpu"), draw_variants(patches, "flips"))
    with torch.no_grad():
        features = model.to_level("unit2", inputs(range(len(inputs))))
    expected = features.mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(block_means(model, inputs), expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(block_means(model, inputs, features), expected)
