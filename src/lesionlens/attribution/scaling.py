"""From unscaled maps of any resolution to activation maps: values between 0 and 1 at the samples' resolution."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

Scaling = Literal["relu_max", "minmax"]

# A map whose values differ by less than this part of its largest magnitude is constant: what is left is rounding of
# the upsampling, and min-max would blow it up to a full-range map. Subnormal differences are rounding too.
FLAT = 1e-6
SMALLEST = float(np.finfo(np.float32).tiny)


def activation_maps(
    grids: NDArray[np.float32], shape: tuple[int, ...], scaling: Scaling
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scaled maps and which of them are blank, from unscaled ones.

    grids float32 [n, rows, cols], any range -> maps float32 [n, *shape] in [0, 1], blank bool [n].
    shape: (height, width).
    Upsampled first (bilinear, pixel centres aligned as in OpenCV and torch's align_corners=False), then scaled, so
    every map that is not blank reaches 1 exactly.

    relu_max: positive part, then divided by the maximum; where the minimum is above zero, min-max. No positive value:
    blank. A constant positive map is 1 everywhere, and is scored as the whole patch.
    minmax (the study): min-max of the unscaled values. A constant map has no range: blank.
    Blank maps and maps with NaN or infinite values are all zeros and flagged.

    >>> grid = np.array([[[-8, 0], [0, 4]]], dtype=np.float32)
    >>> activation_maps(grid, (2, 2), "relu_max")[0].tolist()
    [[[0.0, 0.0], [0.0, 1.0]]]
    >>> activation_maps(grid, (2, 2), "minmax")[0].astype(float).round(2).tolist()
    [[[0.0, 0.67], [0.67, 1.0]]]
    """
    finite: NDArray[np.bool_] = (~np.isfinite(grids)).sum(axis=(1, 2)) == 0
    values = np.where(finite[:, None, None], grids, np.float32(0))
    if scaling == "relu_max":
        values = np.maximum(values, 0)
    maps: NDArray[np.float32] = upsampled(values, shape)
    low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    flat = high - low <= np.maximum(FLAT * np.maximum(np.abs(high), np.abs(low)), SMALLEST)
    blank = ~finite | (high <= 0 if scaling == "relu_max" else flat)
    span = np.where(flat, np.float32(1), high - low)
    maps = (maps - low[:, None, None]) / span[:, None, None]
    maps[flat] = 1
    maps[blank] = 0
    return maps, blank


def upsampled(grids: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Maps of that (height, width) from grids [n, rows, cols], bilinear, pixel centres aligned; values as they are."""
    tensor = torch.from_numpy(np.ascontiguousarray(grids, dtype=np.float32))[:, None]
    found: NDArray[np.float32] = interpolate(tensor, size=shape, mode="bilinear")[:, 0].numpy()
    return found
