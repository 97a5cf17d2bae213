"""Scores that depend on the order of a map's pixels only: rank accuracy, pixel AP, and the mask-sized area."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class RankScores:
    """Per sample, float64 [n].

    rank_accuracy: share of the |mask| highest pixels that lie in the mask. Where the cut falls among equal pixels, the
    expected share over all orders of these.
    pixel_ap: average precision over all distinct values of the map.
    area_threshold, area_iou: the cut that keeps the |mask| highest pixels (pixels equal to the last kept one stay;
    zeros never do), and the IoU there.
    """

    rank_accuracy: NDArray[np.float64]
    pixel_ap: NDArray[np.float64]
    area_threshold: NDArray[np.float64]
    area_iou: NDArray[np.float64]


def rank_scores(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> RankScores:
    """Scores from one sort of every map. maps float32 [n, s, s] >= 0; masks bool [n, s, s], none empty.

    Rank accuracy: Arras et al. 2022 (CLEVR-XAI); average precision: sum of (R_i - R_{i-1}) P_i over distinct values,
    as scikit-learn's `average_precision_score`. A map of zeros scores 0 throughout: it locates nothing.
    """
    values, inside = _descending(maps, masks)
    hits = np.cumsum(inside, axis=1, dtype=np.int32)
    positives = hits[:, -1].astype(np.int64)
    used = (values > 0).sum(axis=1)
    blank = used == 0
    above, upto = _group(values, positives)
    hits_above, hits_upto = _hits(hits, above), _hits(hits, upto)
    expected = hits_above + (positives - above) / np.maximum(upto - above, 1) * (hits_upto - hits_above)
    cut = np.maximum(np.minimum(positives, used), 1)
    kept = _group(values, cut)[1]
    overlap = _hits(hits, kept)
    threshold = np.take_along_axis(values, cut[:, None] - 1, axis=1)[:, 0].view(np.float32).astype(np.float64)
    return RankScores(
        np.where(blank, 0.0, expected / positives),
        np.where(blank, 0.0, _average_precision(values, hits)),
        np.where(blank, 1.0, threshold),
        np.where(blank, 0.0, overlap / (positives + kept - overlap)),
    )


def _descending(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Bit patterns of the values in descending order, and for each whether it lies in the mask; [n, s * s].

    Floats >= 0 order as their bit patterns do, and their sign bit is free: the mask bit rides along in one sort.
    """
    shape = (len(maps), maps.shape[1] * maps.shape[2])
    bits = np.ascontiguousarray(maps + np.float32(0)).reshape(shape).view(np.uint32)
    keys = (bits << np.uint32(1)) | masks.reshape(shape)
    keys.sort(axis=1)
    keys = keys[:, ::-1]
    return np.ascontiguousarray(keys >> np.uint32(1)), keys & np.uint32(1)


def _group(values: NDArray[np.uint32], rank: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many pixels lie above, and how many at or above, the value of the pixel at `rank` (from 1)."""
    value = np.take_along_axis(values, rank[:, None] - 1, axis=1)
    return (values > value).sum(axis=1), (values >= value).sum(axis=1)


def _hits(hits: NDArray[np.int32], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mask pixels among the `count` highest."""
    taken = np.take_along_axis(hits, np.maximum(count, 1)[:, None] - 1, axis=1)[:, 0].astype(np.int64)
    return np.where(count > 0, taken, 0)


def _average_precision(values: NDArray[np.uint32], hits: NDArray[np.int32]) -> NDArray[np.float64]:
    """Sum over groups of equal values of (mask pixels in the group) * (precision at its end) / |mask|."""
    count, pixels = values.shape
    last = np.ones(values.shape, dtype=np.bool_)
    last[:, :-1] = values[:, :-1] != values[:, 1:]
    ends = np.flatnonzero(last)
    rows, columns = np.divmod(ends, pixels)
    found = hits.ravel()[ends].astype(np.float64)
    before = np.concatenate(([0.0], found[:-1]))
    before[np.concatenate(([True], rows[1:] != rows[:-1]))] = 0
    total = np.bincount(rows, weights=(found - before) * found / (columns + 1), minlength=count)
    return total / hits[:, -1]
