"""Builders of small sample sets as arrays."""

import numpy as np

from lesionlens.records import SampleArrays, Statistics

CLASSES = ("B", "BC", "BM", "MC", "MM")
GROUPS = ("background", "calcification", "mass", "calcification", "mass")


def stripes(train: int = 16, validation: int = 16, size: int = 32, seed: int = 0) -> SampleArrays:
    """Patches of stripes whose width is the class, in noise; 5 of them are for test."""
    count = train + validation + 5
    labels = np.arange(count) % 5
    waves = np.sin(np.arange(size)[None, :, None] * (labels[:, None, None] + 1) / 3) * 60 + 110
    noise = np.random.default_rng(seed).normal(0, 25, (count, size, size))
    pixels = (waves + noise).clip(0, 255).astype(np.uint8)
    return SampleArrays(
        digest=f"{seed:064d}",
        classes=CLASSES,
        ids=np.arange(1, count + 1),
        pixels=pixels,
        masks=np.zeros(pixels.shape, bool),
        labels=labels.astype(np.int64),
        splits=np.array(["train"] * train + ["validation"] * validation + ["test"] * 5),
        patients=np.array([f"P_{i:05d}" for i in range(count)]),
        has_mask=labels > 0,
        groups=GROUPS,
        statistics=(
            Statistics(None, 0.43, 0.2),
            *(Statistics(code, 0.4, 0.1 + 0.02 * i) for i, code in enumerate(CLASSES)),
        ),
    )


def bright_squares(count: int = 60, size: int = 64, seed: int = 0) -> SampleArrays:
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


def plain(pixels: np.ndarray) -> SampleArrays:
    """Test patches uint8 [n, s, s] of class M, one patient each, without a marked pixel; normalised to [0, 1]."""
    count = len(pixels)
    return SampleArrays(
        digest="plain",
        classes=("B", "M"),
        ids=np.arange(count, dtype=np.int64),
        pixels=pixels,
        masks=np.zeros(pixels.shape, dtype=np.bool_),
        labels=np.ones(count, dtype=np.int64),
        splits=np.full(count, "test"),
        patients=np.array([f"P_{i:03d}" for i in range(count)]),
        has_mask=np.ones(count, dtype=np.bool_),
        groups=("mass", "mass"),
        statistics=(Statistics(None, 0.0, 1.0),),
    )
