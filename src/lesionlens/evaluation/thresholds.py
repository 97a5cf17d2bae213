"""Where a map is cut: the threshold curve's levels, Otsu's threshold, and the one tuned on validation lesions."""

import numpy as np
from numpy.typing import NDArray

# The levels of every stored IoU curve: 0.05, 0.10, ..., 0.95.
CURVE: NDArray[np.float32] = (np.arange(1, 20) / 20).astype(np.float32)

LEVELS = 256


def otsu(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Otsu's threshold of each map, as scikit-image's `threshold_otsu` with 256 bins gives it.

    maps float32 [n, s, s] in [0, 1], each reaching 0 and 1 (so the bins are k/256 and binning is exact) -> float64
    [n], a bin centre. A map that does not reach both (blank or constant) gets 1.0, so that {map >= threshold} is
    nothing and everything.
    """
    count, size = len(maps), maps.shape[1] * maps.shape[2]
    levels = np.minimum((maps.reshape(count, size) * np.float32(LEVELS)).astype(np.uint16), LEVELS - 1)
    histogram = np.zeros((count, LEVELS))
    for row, level in enumerate(levels):
        histogram[row] = np.bincount(level, minlength=LEVELS)
    # Single precision and this order of operations are scikit-image's: near-ties between bins fall the same way.
    weights = histogram.astype(np.float32)
    centres = ((np.arange(LEVELS) + 0.5) / LEVELS).astype(np.float32)
    below, above = np.cumsum(weights, axis=1), np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_below = np.cumsum(weights * centres, axis=1) / below
        mean_above = (np.cumsum((weights * centres)[:, ::-1], axis=1) / above[:, ::-1])[:, ::-1]
        between = below[:, :-1] * above[:, 1:] * (mean_below[:, :-1] - mean_above[:, 1:]) ** 2
    threshold = centres[np.argmax(np.nan_to_num(between), axis=1)].astype(np.float64)
    full_range = (histogram[:, 0] > 0) & (histogram[:, -1] > 0)
    return np.where(full_range, threshold, 1.0)


def tuned(curves: NDArray[np.float64]) -> float | None:
    """The level of the curve with the highest mean IoU; the lowest such level where several tie.

    curves float64 [n, 19]: IoU of validation lesions at every level. None where there are no lesions.
    """
    if not len(curves):
        return None
    return float(CURVE[int(np.argmax(curves.mean(axis=0)))])
