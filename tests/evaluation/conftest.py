"""A tiny sample set: bright squares on noise, five classes, a few patients."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lesionlens.records import SampleArrays, Statistics

CLASSES = ("B", "BC", "BM", "MC", "MM")
GROUPS = ("background", "calcification", "mass", "calcification", "mass")


def make_patches(count: int = 60, size: int = 64, seed: int = 0) -> SampleArrays:
    """Half of the patches are for training; every fifth is background; three patches per patient."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 5
    pixels = generator.integers(60, 120, (count, size, size)).astype(np.uint8)
    masks = np.zeros((count, size, size), dtype=np.bool_)
    for patch in np.flatnonzero(labels):
        row, column = generator.integers(4, size // 2, 2)
        masks[patch, row : row + 20, column : column + 20] = True
        pixels[patch][masks[patch]] += np.uint8(25 * labels[patch])
    splits = np.array(["train", "validation", "test", "train", "test", "train"])[(np.arange(count) // 5) % 6]
    return SampleArrays(
        digest="tiny",
        classes=CLASSES,
        ids=np.arange(count, dtype=np.int64) * 10 + 1,
        pixels=pixels,
        masks=masks,
        labels=labels.astype(np.int64),
        splits=splits,
        patients=np.array([f"P_{i // 3:05d}" for i in range(count)]),
        has_mask=labels > 0,
        groups=GROUPS,
        statistics=(Statistics(None, 0.4, 0.15),),
    )


@pytest.fixture(scope="session")
def tiny_patches() -> Callable[..., SampleArrays]:
    """The maker, for tests that want their own."""
    torch.set_num_threads(1)
    return make_patches
