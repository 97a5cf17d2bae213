"""Where a map is cut: the threshold curve's levels, Otsu's threshold, and the one tuned on validation lesions."""

import numpy as np
from numpy.typing import NDArray

from lesionlens.localization.curves import STEPS

# The levels of every stored IoU curve: 0.05, 0.10, ..., 0.95.
CURVE: NDArray[np.float32] = (np.arange(1, 20) / 20).astype(np.float32)

CURVE_STEPS: NDArray[np.int64] = np.arange(1, 20) * (STEPS // 20)

BINS = 256
PER_BIN = STEPS // BINS


def otsu(counted: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Otsu's threshold of each map, as scikit-image's `threshold_otsu` with 256 bins gives it.

    counted int64 [n, 2, STEPS + 1], the `counts` of maps that each reach 0 and 1 (so the bins are k/256 and binning is
    exact) -> float64 [n], a bin centre, and its step int64 [n]. A map that does not reach both (blank or constant)
    gets 1.0, so that {map >= threshold} is nothing and everything.
    """
    steps = counted.sum(axis=1)
    steps[:, -2] += steps[:, -1]
    histogram = steps[:, :-1].reshape(len(steps), BINS, PER_BIN).sum(axis=2)
    # Single precision and this order of operations are scikit-image's: near-ties between bins fall the same way.
    weights = histogram.astype(np.float32)
    centres = ((np.arange(BINS) + 0.5) / BINS).astype(np.float32)
    below, above = np.cumsum(weights, axis=1), np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_below = np.cumsum(weights * centres, axis=1) / below
        mean_above = (np.cumsum((weights * centres)[:, ::-1], axis=1) / above[:, ::-1])[:, ::-1]
        between = below[:, :-1] * above[:, 1:] * (mean_below[:, :-1] - mean_above[:, 1:]) ** 2
    best = np.argmax(np.nan_to_num(between), axis=1)
    full_range = (histogram[:, 0] > 0) & (histogram[:, -1] > 0)
    threshold = np.where(full_range, centres[best].astype(np.float64), 1.0)
    return threshold, np.where(full_range, best * PER_BIN + PER_BIN // 2, STEPS)


def tuned(curves: NDArray[np.float64]) -> float | None:
    """The level of the curve with the highest mean IoU; the lowest such level where several tie.

    curves float64 [n, 19]: IoU of validation lesions at every level. None where there are no lesions.
    """
    if not len(curves):
        return None
    return float(CURVE[int(np.argmax(curves.mean(axis=0)))])
