"""Map and mask to numbers: IoU at every threshold and policy, hit, energy, rank accuracy, pixel AP."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lesionlens.attribution.scaling import Scaling, activation_maps
from lesionlens.localization import curves
from lesionlens.localization.curves import CURVE_STEPS, otsu

CHUNK = 64  # maps in memory at once

TOP = 0.05
"""Proportion of a map's pixels that activation precision looks at."""
FIXED_THRESHOLD = 0.5
"""Cut of maps, scaled to 0 to 1, under the policy `fixed` (the study)."""

# Pixels within this of the maximum count as maximal: upsampling repeats a border cell's value up to rounding.
TIE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class MapScores:
    """Scores of n maps against their masks.

    blank bool [n]; hit bool [n]; all others float64: curve [n, 19] (IoU at 0.05..0.95), energy, rank_accuracy,
    pixel_ap, top5, otsu_threshold, otsu_iou, area_threshold, area_iou, fixed_iou [n]. NaN where there is no mask.
    """

    blank: NDArray[np.bool_]
    hit: NDArray[np.bool_]
    energy: NDArray[np.float64]
    rank_accuracy: NDArray[np.float64]
    pixel_ap: NDArray[np.float64]
    top5: NDArray[np.float64]
    curve: NDArray[np.float64]
    otsu_threshold: NDArray[np.float64]
    otsu_iou: NDArray[np.float64]
    area_threshold: NDArray[np.float64]
    area_iou: NDArray[np.float64]
    fixed_iou: NDArray[np.float64]


def score_grids(grids: NDArray[np.float32], masks: NDArray[np.bool_], scaling: Scaling, fixed: float) -> MapScores:
    """Scores of unscaled maps float32 [n, rows, cols] against masks bool [n, height, width].

    fixed: the threshold of the policy of that name, in (0, 1).
    """
    parts = []
    for rows in _chunks(len(grids)):
        maps, blank = activation_maps(grids[rows], masks.shape[1:], scaling)
        parts.append(_score(maps, blank, masks[rows], fixed))
    return _joined(parts)


def score_maps(maps: NDArray[np.float32], masks: NDArray[np.bool_], fixed: float) -> MapScores:
    """The same for maps float32 [n, s, s] that are scaled to [0, 1] already."""
    parts = []
    for rows in _chunks(len(maps)):
        parts.append(_score(maps[rows], maps[rows].max(axis=(1, 2)) <= 0, masks[rows], fixed))
    return _joined(parts)


def _chunks(count: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]


def _score(maps: NDArray[np.float32], blank: NDArray[np.bool_], masks: NDArray[np.bool_], fixed: float) -> MapScores:
    masked: NDArray[np.bool_] = masks.sum(axis=(1, 2)) > 0
    ranks = rank_scores(maps[masked], masks[masked])
    histogram = histogram_scores(curves.counts(maps, masks))
    return MapScores(
        blank=blank,
        hit=hits(maps, masks),
        energy=np.where(masked, energies(maps, masks), np.nan),
        rank_accuracy=_spread(ranks.rank_accuracy, masked),
        pixel_ap=_spread(ranks.pixel_ap, masked),
        top5=_spread(ranks.top5, masked),
        curve=histogram.curve,
        otsu_threshold=histogram.otsu_threshold,
        otsu_iou=histogram.otsu_iou,
        area_threshold=_spread(ranks.area_threshold, masked),
        area_iou=_spread(ranks.area_iou, masked),
        fixed_iou=iou_at(maps, masks, np.full(len(maps), fixed)),
    )


def _spread(values: NDArray[np.float64], masked: NDArray[np.bool_]) -> NDArray[np.float64]:
    spread = np.full(len(masked), np.nan)
    spread[masked] = values
    return spread


def _joined(parts: list[MapScores]) -> MapScores:
    if not parts:
        size = (0, 1, 1)
        parts = [_score(np.zeros(size, np.float32), np.zeros(0, np.bool_), np.zeros(size, np.bool_), 0.5)]
    return MapScores(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(MapScores)})


@dataclass(frozen=True, slots=True, eq=False)
class HistogramScores:
    """Scores from `curves.counts`, float64: curve [n, 19], otsu_threshold [n], otsu_iou [n]."""

    curve: NDArray[np.float64]
    otsu_threshold: NDArray[np.float64]
    otsu_iou: NDArray[np.float64]


def histogram_scores(counted: NDArray[np.int64]) -> HistogramScores:
    """From `curves.counts`: IoU at the curve's thresholds, Otsu's threshold and IoU there."""
    threshold, step = otsu(counted)
    steps = np.concatenate([np.tile(CURVE_STEPS, (len(counted), 1)), step[:, None]], axis=1)
    iou = curves.iou(counted, steps)
    return HistogramScores(iou[:, :-1], threshold, iou[:, -1])


def iou_curve(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of {map >= t} with the mask for t = 0.05..0.95, exact, from one histogram per sample.

    maps float32 [n, s, s] in [0, 1]; masks bool [n, s, s] -> float64 [n, 19]; NaN rows where the mask is empty.
    """
    return histogram_scores(curves.counts(maps, masks)).curve


def iou_at(maps: NDArray[np.float32], masks: NDArray[np.bool_], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of {map >= its own threshold} with the mask: float64 [n]; NaN where the mask is empty.

    >>> maps, masks = np.array([[[1, 0.6], [0.4, 0]]], np.float32), np.array([[[True, False], [True, False]]])
    >>> [round(float(iou_at(maps, masks, np.array([t]))[0]), 2) for t in (0.3, 0.5, 0.7)]
    [0.67, 0.33, 0.5]
    """
    regions = maps >= thresholds.astype(np.float32)[:, None, None]
    overlap = (regions & masks).sum(axis=(1, 2))
    area = masks.sum(axis=(1, 2))
    union = area + regions.sum(axis=(1, 2)) - overlap
    iou: NDArray[np.float64] = np.divide(overlap, union, out=np.full(union.shape, np.nan), where=area > 0)
    return iou


def hits(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pointing game (Zhang et al. 2018), without its tolerance: does the maximum lie in the mask?

    Where several pixels are maximal, at least half of them must: no pixel order decides, and a plateau that merely
    touches the lesion is no hit. A blank map hits nothing.

    >>> masks = np.array([[[True, True, False]]] * 3)
    >>> hits(np.array([[[0, 1, 0]], [[0, 1, 1]], [[0, 0, 1]]], dtype=np.float32), masks).tolist()
    [True, True, False]
    """
    top = (maps >= 1 - TIE) & (maps > 0)
    inside = (top & masks).sum(axis=(1, 2))
    hit: NDArray[np.bool_] = (inside > 0) & (2 * inside >= top.sum(axis=(1, 2)))
    return hit


def energies(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sum of the map in the mask / sum of the map (relevance mass accuracy; Arras et al. 2022); 0 for a blank map.

    >>> energies(np.array([[[1, 0.5, 0.5]]], dtype=np.float32), np.array([[[True, False, False]]])).tolist()
    [0.5]
    """
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    inside = np.where(masks, maps, 0).sum(axis=(1, 2), dtype=np.float64)
    energy: NDArray[np.float64] = np.divide(inside, total, out=np.zeros(total.shape), where=total > 0)
    return energy


@dataclass(frozen=True, slots=True, eq=False)
class RankScores:
    """Per sample, float64 [n].

    rank_accuracy: proportion of the |mask| highest pixels that lie in the mask. Where the cut falls among equal pixels,
    the expected proportion over all orders of these.
    pixel_ap: average precision over all distinct values of the map.
    top5: proportion of the highest 5 % of all pixels that lie in the mask (activation precision; Barnett et al. 2021),
    as many pixels as reach the 95th percentile where none are equal; equal ones as in rank_accuracy.
    area_threshold, area_iou: the cut that keeps the |mask| highest pixels (pixels equal to the last kept one stay;
    zeros never do), and the IoU there.
    """

    rank_accuracy: NDArray[np.float64]
    pixel_ap: NDArray[np.float64]
    top5: NDArray[np.float64]
    area_threshold: NDArray[np.float64]
    area_iou: NDArray[np.float64]


def rank_scores(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> RankScores:
    """Scores from one sort of every map. maps float32 [n, s, s] >= 0; masks bool [n, s, s], none empty.

    Rank accuracy: Arras et al. 2022 (CLEVR-XAI); average precision: sum of (R_i - R_{i-1}) P_i over distinct values,
    as scikit-learn's `average_precision_score`. A map of zeros scores 0 throughout.
    """
    values, inside = _descending(maps, masks)
    hits = np.cumsum(inside, axis=1, dtype=np.int32)
    positives = hits[:, -1].astype(np.int64)
    used = (values > 0).sum(axis=1)
    blank = used == 0
    expected = _expected(values, hits, positives)
    pixels = values.shape[1]
    top = np.full(len(values), pixels - int(np.ceil((1 - TOP) * (pixels - 1) - 1e-9)))
    cut = np.maximum(np.minimum(positives, used), 1)
    kept = _group(values, cut)[1]
    overlap = _hits(hits, kept)
    threshold = np.take_along_axis(values, cut[:, None] - 1, axis=1)[:, 0].view(np.float32).astype(np.float64)
    return RankScores(
        np.where(blank, 0.0, expected / positives),
        np.where(blank, 0.0, _average_precision(values, hits)),
        np.where(blank, 0.0, _expected(values, hits, top) / top),
        np.where(blank, 1.0, threshold),
        np.where(blank, 0.0, overlap / (positives + kept - overlap)),
    )


def _descending(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Bit patterns of the values in descending order, and whether their pixels lie in the mask; [n, s * s].

    Floats >= 0 order as their bit patterns do, and their sign bit is free: the mask bit rides along in one sort.
    """
    shape = (len(maps), maps.shape[1] * maps.shape[2])
    bits = np.ascontiguousarray(maps + np.float32(0)).reshape(shape).view(np.uint32)
    keys = (bits << np.uint32(1)) | masks.reshape(shape)
    keys.sort(axis=1)
    keys = keys[:, ::-1]
    return np.ascontiguousarray(keys >> np.uint32(1)), keys & np.uint32(1)


def _expected(values: NDArray[np.uint32], hits: NDArray[np.int32], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mask pixels among the `count` highest; where the cut falls among equal ones, over all orders of these."""
    above, upto = _group(values, count)
    hits_above, hits_upto = _hits(hits, above), _hits(hits, upto)
    found: NDArray[np.float64] = hits_above + (count - above) / np.maximum(upto - above, 1) * (hits_upto - hits_above)
    return found


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
