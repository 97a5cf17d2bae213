"""Fill a region of a patch from its surroundings, and find as large a region of background to fill as a control."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad


def inpainted(pixels: NDArray[np.uint8], regions: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Patches whose regions are filled smoothly from what surrounds them; all else is kept bit by bit.

    pixels uint8 [n, s, s]; regions bool [n, s, s] -> uint8 [n, s, s]. Push-pull interpolation (Gortler et al. 1996):
    means of the known pixels at ever coarser scales, each level filling the gaps of the finer one. A region that is
    the whole patch becomes mid grey.
    """
    known = torch.from_numpy(~regions).float()[:, None]
    values = torch.from_numpy(pixels).float()[:, None]
    filled = _push_pull(values * known, known)[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()
    return np.where(regions, filled, pixels)


def _push_pull(weighted: Tensor, weight: Tensor) -> Tensor:
    """Values [n, 1, h, w] from values times weight and weight in [0, 1]; gaps taken from the next coarser level."""
    rows, columns = weight.shape[2:]
    own = weighted / weight.clamp(min=1e-6)
    if rows == 1 and columns == 1:
        return torch.where(weight > 0, own, torch.full_like(own, 127.5))
    even = (0, columns % 2, 0, rows % 2)
    coarse = _push_pull(avg_pool2d(pad(weighted, even), 2), avg_pool2d(pad(weight, even), 2))
    size = (rows + rows % 2, columns + columns % 2)
    pulled = interpolate(coarse, size=size, mode="bilinear")[:, :, :rows, :columns]
    trust = (4 * weight).clamp(max=1)  # one known pixel of four is as good as all of them
    return trust * own + (1 - trust) * pulled


def control_region(
    mask: NDArray[np.bool_], pixels: NDArray[np.uint8], generator: np.random.Generator, margin: int = 2
) -> NDArray[np.bool_] | None:
    """The mask's own shape moved to a random place of the patch at least `margin` pixels off the mask, in tissue.

    mask bool [s, s], not empty; pixels uint8 [s, s]. In tissue: at least half as bright on average as the patch is
    outside the mask. Filling in the air beside a breast takes nothing away, and would make any lesion look needed. None
    where there is no such place: the lesion is too large for its patch, or only air lies beside it.
    """
    rows, columns = np.nonzero(mask)
    shape = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = shape.shape
    grown = _grown(mask, margin)
    off = _sums_under(shape, grown) < 0.5
    least = pixels[~mask].mean() / 2 * shape.sum() if off.any() else 0.0
    places = np.argwhere(off & (_sums_under(shape, pixels) >= least - 0.5))
    if not len(places):
        return None
    row, column = places[generator.integers(len(places))]
    region = np.zeros_like(mask)
    region[row : row + height, column : column + width] = shape
    return region


def _sums_under(shape: NDArray[np.bool_], values: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.float64]:
    """Sums of values [s, s] under the shape bool [h, w] put at every place: [s - h + 1, s - w + 1], by FFT."""
    size, (height, width) = len(values), shape.shape
    padded = np.zeros((2 * size, 2 * size))
    padded[:size, :size] = values
    spectrum = np.fft.rfft2(padded) * np.conj(np.fft.rfft2(shape.astype(np.float64), padded.shape))
    sums: NDArray[np.float64] = np.fft.irfft2(spectrum, padded.shape)[: size - height + 1, : size - width + 1]
    return sums


def _grown(mask: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    grown = torch.nn.functional.max_pool2d(torch.from_numpy(mask)[None, None].float(), 2 * margin + 1, 1, margin)
    result: NDArray[np.bool_] = grown[0, 0].numpy() > 0
    return result
