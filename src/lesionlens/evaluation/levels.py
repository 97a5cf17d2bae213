"""Pixels of a map counted by level, inside and outside the mask: one pass gives every threshold and Otsu's."""

import numpy as np
import torch
from numpy.typing import NDArray

# Steps of 1/2560 hold the curve's levels (k/20), Otsu's 256 bins (k/256) and their centres.
STEPS = 2560

# {map >= t} compares single-precision numbers, and k/20 is none. In double precision this factor puts every map value
# on the side of every step that the comparison puts it on: it must exceed 1 by more than 3.67e-8, so that k/20 rounded
# down reaches its step, and by less than 4.20e-8, so that no number below k/20 or k/256 does. Tested at each of them.
FACTOR = STEPS * (1 + 3.9e-8)


def counts(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """maps float32 [n, s, s] in [0, 1]; masks bool [n, s, s] -> int64 [n, 2, STEPS + 1]: pixels at each step, outside
    the mask (row 0) and inside (row 1)."""
    count, pixels = len(maps), maps.shape[1] * maps.shape[2]
    found = torch.empty((count, 2 * (STEPS + 1)), dtype=torch.int64)
    scaled, steps = torch.empty(pixels, dtype=torch.float64), torch.empty(pixels, dtype=torch.int16)
    values = torch.from_numpy(np.require(maps, requirements=["C", "W"])).view(count, pixels)
    inside = torch.from_numpy(np.require(masks, requirements=["C", "W"])).view(count, pixels).view(torch.int8)
    for row in range(count):
        # torch, into the same memory for every map: NumPy's casts and its bincount take up to twice as long
        steps.copy_(scaled.copy_(values[row]).mul_(FACTOR)).add_(inside[row], alpha=STEPS + 1)
        found[row] = torch.bincount(steps, minlength=found.shape[1])
    return found.view(count, 2, STEPS + 1).numpy()


def iou(counted: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of {map >= step} with the mask, from `counts`.

    steps int64 [n, k], each at least 1 -> float64 [n, k]; NaN rows where the mask is empty.
    """
    below = counted.cumsum(axis=2)
    outside, inside = (below[:, row, -1:] - np.take_along_axis(below[:, row], steps - 1, axis=1) for row in (0, 1))
    area = below[:, 1, -1:]
    ratio = np.full(steps.shape, np.nan)
    np.divide(inside, area + outside, out=ratio, where=area > 0)
    return ratio
