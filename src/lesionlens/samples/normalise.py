"""Grey statistics of the training split, the input normalisations built on them, and patches as stored bytes."""

import zlib
from collections.abc import Sequence

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
    """Grey values as z-scores, float32 [n, h, w], from pixels uint8 [n, h, w] and class codes `labels` str [n].

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


def pack_pixels(pixels: NDArray[np.uint8], compress: bool = False) -> bytes:
    """Grey values uint8 [h, w] as h * w bytes, row by row; `compress`: by zlib, where that makes fewer of them.

    Most of a film is black and takes a third of its bytes. Patches are tissue and compress badly.
    """
    raw = np.ascontiguousarray(pixels, dtype=np.uint8).tobytes()
    packed = zlib.compress(raw, 1) if compress else raw
    return packed if len(packed) < len(raw) else raw


def unpack_pixels(stored: bytes, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 of that shape from its bytes. ValueError where they do not fit."""
    count = shape[0] * shape[1]
    try:
        raw = stored if len(stored) == count else zlib.decompress(stored)
    except zlib.error:
        raw = b""
    if len(raw) != count:
        raise ValueError(f"{len(stored)} bytes are no picture of {shape[0]} x {shape[1]}")
    return np.frombuffer(raw, dtype=np.uint8).reshape(shape)


def pack_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask bool [h, w] as bits, row by row, the first pixel in the highest bit; the last byte is filled with 0."""
    return np.packbits(mask).tobytes()


def unpack_mask(stored: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """bool of that shape from its bits. ValueError where their number does not fit."""
    count = shape[0] * shape[1]
    if len(stored) != (count + 7) // 8:
        raise ValueError(f"{len(stored)} bytes are no mask of {shape[0]} x {shape[1]}")
    bits = np.unpackbits(np.frombuffer(stored, dtype=np.uint8), count=count)
    return bits.reshape(shape).view(np.bool_)
