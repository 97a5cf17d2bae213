"""Grey statistics of the training split, the input normalisations built on them, and patches as stored bytes."""

from collections.abc import Sequence
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from lesionlens.config.training import Normalise
from lesionlens.records import Sample, Statistics

# torchvision's ImageNet statistics, averaged over the three channels: a grey patch has one.
IMAGENET_MEAN = (0.485 + 0.456 + 0.406) / 3
IMAGENET_STD = (0.229 + 0.224 + 0.225) / 3
LEAST_STD = 1 / 255  # one grey level: a flat patch stays finite


class GreyStatistics:
    """Histograms of the training split's 256 grey values by class, gathered sample by sample in fixed memory."""

    def __init__(self) -> None:
        self._counts: dict[str, NDArray[np.int64]] = {}

    def add(self, sample: Sample) -> None:
        if sample.split == "train":
            histogram = np.bincount(sample.pixels.ravel(), minlength=256).astype(np.int64)
            self._counts[sample.label] = self._counts.get(sample.label, np.zeros(256, np.int64)) + histogram

    def rows(self) -> tuple[Statistics, ...]:
        """Mean and standard deviation of grey values in [0, 1]: all classes, then each by code.

        ValueError when the training split is empty.
        """
        if not self._counts:
            raise ValueError("no patch is in the training split: check the data folder, the split and the exclusions")
        total = np.sum(list(self._counts.values()), axis=0)
        return (_statistics(None, total), *(_statistics(code, self._counts[code]) for code in sorted(self._counts)))


def normalise(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.str_],
    statistics: Sequence[Statistics],
    mode: Normalise,
) -> NDArray[np.float32]:
    """Grey values as z-scores, float32 [n, s, s], from pixels uint8 [n, s, s] and class codes `labels` str [n].

    per_class: by the statistics of the patch's own class (needs the label, so it leaks it); train: by those of the
    training split; imagenet: by ImageNet's, averaged over channels; per_patch: by the patch's own. Standard
    deviations below one grey level count as one. ValueError when the statistics needed are not given.
    """
    grey = pixels.astype(np.float32) / np.float32(255)
    if mode == "per_patch":
        mean, std = grey.mean(axis=(1, 2), dtype=np.float64), grey.std(axis=(1, 2), dtype=np.float64)
    elif mode == "imagenet":
        mean, std = np.array([IMAGENET_MEAN]), np.array([IMAGENET_STD])
    else:
        known = {row.label: row for row in statistics}
        wanted: list[str | None] = [str(code) for code in labels] if mode == "per_class" else [None]
        absent = {str(code) for code in wanted if code not in known}
        if absent:
            raise ValueError(f"no training statistics for {', '.join(sorted(absent))}: prepare the patches again")
        mean = np.array([known[code].mean for code in wanted])
        std = np.array([known[code].std for code in wanted])
    scale = np.maximum(std, LEAST_STD).astype(np.float32)
    grey -= mean.astype(np.float32)[:, None, None]
    grey /= scale[:, None, None]
    return grey


def _statistics(code: str | None, histogram: NDArray[np.int64]) -> Statistics:
    values = np.arange(256) / 255
    n = histogram.sum()
    mean = float((histogram * values).sum() / n)
    return Statistics(code, mean, float(np.sqrt((histogram * (values - mean) ** 2).sum() / n)))


def pack_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Grey values uint8 [s, s] as s * s bytes, row by row."""
    return np.ascontiguousarray(pixels, dtype=np.uint8).tobytes()


def unpack_pixels(stored: bytes) -> NDArray[np.uint8]:
    """uint8 [s, s] from s * s bytes. ValueError where they are no square."""
    size = isqrt(len(stored))
    if not size or size * size != len(stored):
        raise ValueError(f"{len(stored)} bytes are no square patch")
    return np.frombuffer(stored, dtype=np.uint8).reshape(size, size)


def pack_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask bool [s, s] as bits, row by row, the first pixel in the highest bit; the last byte is filled with 0."""
    return np.packbits(mask).tobytes()


def unpack_mask(stored: bytes, size: int) -> NDArray[np.bool_]:
    """bool [size, size] from its bits. ValueError where their number does not fit."""
    if len(stored) != (size * size + 7) // 8:
        raise ValueError(f"{len(stored)} bytes are no mask of {size} x {size}")
    bits = np.unpackbits(np.frombuffer(stored, dtype=np.uint8), count=size * size)
    return bits.reshape(size, size).view(np.bool_)
