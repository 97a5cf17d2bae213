"""Statistics of the training split, the normalisations built on them, patches as the record keeps them."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesionlens.config.training import Normalise
from lesionlens.records import Box, Sample, Split, Statistics
from lesionlens.samples.normalise import (
    GreyStatistics,
    normalise,
    pack_mask,
    pack_pixels,
    unpack_mask,
    unpack_pixels,
)

RNG = np.random.default_rng(3)


def patch(label: str, split: Split, level: int) -> Sample:
    pixels = np.clip(RNG.normal(level, 20, (16, 16)), 0, 255).astype(np.uint8)
    return Sample(f"{label}{level}", label, "i", None, "p", split, Box(0, 0, 16, 16), None, None, pixels, None)


def statistics(samples: list[Sample]) -> tuple[Statistics, ...]:
    gathered = GreyStatistics()
    for sample in samples:
        gathered.add(sample)
    return gathered.rows()


PATCHES = [patch("BM", "train", 90), patch("MM", "train", 140), patch("BM", "train", 95), patch("MM", "test", 250)]


def test_statistics_are_numpys_over_the_training_part() -> None:
    rows = statistics(PATCHES)
    assert [row.label for row in rows] == [None, "BM", "MM"]
    training = np.stack([p.pixels for p in PATCHES[:3]]) / 255
    assert (rows[0].mean, rows[0].std) == (pytest.approx(training.mean()), pytest.approx(training.std()))
    assert (rows[2].mean, rows[2].std) == (pytest.approx(training[1].mean()), pytest.approx(training[1].std()))


def test_no_training_part_is_an_error() -> None:
    with pytest.raises(ValueError, match="training split"):
        statistics(PATCHES[3:])


def test_each_mode_by_its_definition() -> None:
    pixels, labels = np.stack([p.pixels for p in PATCHES]), np.array([p.label for p in PATCHES])
    rows = statistics(PATCHES)
    grey = pixels / 255
    expected = {
        "train": (grey - rows[0].mean) / rows[0].std,
        "per_patch": (grey - grey.mean((1, 2), keepdims=True)) / grey.std((1, 2), keepdims=True),
        "imagenet": (grey - 0.449) / 0.226,
        "per_class": np.stack([(g - rows[n].mean) / rows[n].std for g, n in zip(grey, (1, 2, 1, 2), strict=True)]),
    }
    for mode in get_args(Normalise):
        found = normalise(pixels, labels, rows, mode)
        assert found.dtype == np.float32 and found.shape == pixels.shape
        np.testing.assert_allclose(found, expected[mode], rtol=1e-4, atol=1e-5)


def test_per_class_uses_the_label_and_train_does_not() -> None:
    pixels = np.stack([PATCHES[0].pixels] * 2)
    rows = statistics(PATCHES)
    leaked, clean = (normalise(pixels, np.array(["BM", "MM"]), rows, mode) for mode in ("per_class", "train"))
    assert not np.allclose(leaked[0], leaked[1])
    np.testing.assert_array_equal(clean[0], clean[1])


def test_a_flat_patch_stays_finite_and_an_unknown_class_is_named() -> None:
    flat = np.full((1, 4, 4), 80, np.uint8)
    assert np.isfinite(normalise(flat, np.array(["B"]), (), "per_patch")).all()
    with pytest.raises(ValueError, match="MC"):
        normalise(flat, np.array(["MC"]), (Statistics(None, 0.4, 0.2),), "per_class")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 33), st.data())
def test_what_is_packed_comes_back(size: int, data: st.DataObject) -> None:
    pixels = data.draw(arrays(np.uint8, (size, size)))
    mask = data.draw(arrays(np.bool_, (size, size)))
    for compress in (False, True):
        np.testing.assert_array_equal(unpack_pixels(pack_pixels(pixels, compress), (size, size)), pixels)
    np.testing.assert_array_equal(unpack_mask(pack_mask(mask), (size, size)), mask)


def test_films_are_packed_small() -> None:
    film = np.zeros((64, 48), dtype=np.uint8)
    film[20:40, 10:30] = np.arange(20, dtype=np.uint8)
    packed = pack_pixels(film, compress=True)
    assert len(packed) < 300
    np.testing.assert_array_equal(unpack_pixels(packed, (64, 48)), film)


def test_a_view_is_packed_as_it_looks() -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4).T
    np.testing.assert_array_equal(unpack_pixels(pack_pixels(pixels), (4, 4)), pixels)


def test_the_wrong_length_is_named() -> None:
    with pytest.raises(ValueError, match="10 bytes are no picture of 4 x 3"):
        unpack_pixels(bytes(10), (4, 3))
    with pytest.raises(ValueError, match="2 bytes are no mask of 5 x 5"):
        unpack_mask(bytes(2), (5, 5))
