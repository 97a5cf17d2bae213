"""Weighted one-vs-rest AUC, for many weightings at once: what the bootstrap of an AUC needs."""

import numpy as np
from numpy.typing import NDArray

from lesionlens.scoring.bootstrap import Clusters

ROWS = 100  # resamples in memory at once


def resampled_auc(scores: NDArray[np.float32], positive: NDArray[np.bool_], clusters: Clusters) -> NDArray[np.float64]:
    """AUC of `scores` [n] for `positive` [n] in every resample: float64 [resamples]; NaN where a side is not drawn.

    The Mann-Whitney form: the weighted share of pairs in which the positive sample scores higher, ties counting half.
    """
    if not len(scores):
        return np.full(len(clusters.counts), np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate(([True], np.diff(scores[order]) != 0)))
    inside = positive[order].astype(np.float64)
    resamples = len(clusters.counts)
    areas = np.full(resamples, np.nan)
    for start in range(0, resamples, ROWS):
        weights = clusters.weights(start, min(start + ROWS, resamples))[:, order]
        above = np.add.reduceat(weights * inside, starts, axis=1)
        others = np.add.reduceat(weights * (1 - inside), starts, axis=1)
        lower = np.cumsum(others, axis=1) - others / 2
        pairs = above.sum(axis=1) * others.sum(axis=1)
        won = (above * lower).sum(axis=1)
        areas[start : start + ROWS] = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return areas
