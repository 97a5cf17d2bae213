"""Regions of samples filled in or pasted: which pixels, with what, and where as much tissue without a lesion lies."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, shift
from skimage.measure import regionprops
from skimage.morphology import convex_hull_image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

Fill = Literal["smooth", "texture"]
LEAST_MARGIN = 2.0  # pixels
GRAIN = 3.0  # pixels: what a Gaussian of this deviation takes away is texture
FEATHER = 3.0  # pixels over which a pasted region fades in
FAIR = 0.06  # most that two distances to the centre may differ by, in sides of the sample


def grown_hulls(masks: NDArray[np.bool_], margin: float) -> NDArray[np.bool_]:
    """The convex hull of every mask, grown by `margin` times its diameter, at least 2 pixels.

    masks bool [n, s, s], none empty -> bool [n, s, s]. An annotation's own outline would tell its class (a spiculated
    margin above all) after its inside is filled; a hull does not, and the margin takes the lesion's rim with it.
    """
    regions = np.zeros_like(masks)
    for region, mask in zip(regions, masks, strict=True):
        hull = convex_hull_image(mask)  # type: ignore[no-untyped-call]
        [measured] = regionprops(hull.astype(np.uint8))  # type: ignore[no-untyped-call]
        region[:] = distance_transform_edt(~hull) <= max(LEAST_MARGIN, margin * measured.feret_diameter_max)
    return regions


def enlarged(regions: NDArray[np.bool_], scale: int) -> NDArray[np.bool_]:
    """Regions bool [..., h, w] at the resolution of samples whose masks have `scale` pixels to a side's pixel."""
    return regions if scale == 1 else regions.repeat(scale, axis=-2).repeat(scale, axis=-1)


def reduced(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Grey values uint8 [h, w] at the resolution of their mask: means of `scale` x `scale` pixels."""
    if scale == 1:
        return pixels
    blocks = pixels.reshape(pixels.shape[0] // scale, scale, pixels.shape[1] // scale, scale)
    means: NDArray[np.uint8] = blocks.mean(axis=(1, 3)).round().astype(np.uint8)
    return means


def filled(
    pixels: NDArray[np.uint8], regions: NDArray[np.bool_], fill: Fill, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Samples uint8 [n, s, s] with their regions bool [n, s, s] filled in; all other pixels stay as they are.

    smooth: `inpainted`. texture: that plus noise drawn by the generator, of the spectrum of the tissue's own texture
    and its deviation in a band around the region that is as wide as the region. White noise would not do: networks
    that were never shown any take a disc of it in healthy tissue for a lesion.
    """
    smooth = inpainted(pixels, regions)
    if fill == "smooth":
        return smooth
    for picture, region in zip(smooth, regions, strict=True):
        grain = picture - gaussian_filter(picture.astype(np.float64), GRAIN)
        band = ~region & (distance_transform_edt(~region) <= np.sqrt(region.sum() / np.pi))
        noise = np.fft.fft2(generator.normal(size=region.shape))
        spectrum = np.abs(np.fft.fft2(np.where(region, 0, grain)))
        drawn = np.fft.ifft2(spectrum * noise / np.abs(noise)).real
        deviation = grain[band].std() if band.any() else 0.0
        textured = picture[region] + drawn[region] * deviation / max(drawn.std(), 1e-6)
        picture[region] = textured.round().clip(0, 255).astype(np.uint8)
    return smooth


def inpainted(pixels: NDArray[np.uint8], regions: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Samples whose regions are filled smoothly from what surrounds them; all other pixels stay as they are.

    pixels uint8 [n, s, s]; regions bool [n, s, s] -> uint8 [n, s, s]. Push-pull interpolation (Gortler et al. 1996):
    means of the known pixels at ever coarser scales, each level filling the gaps of the finer one. A region that is
    the whole sample becomes mid grey.
    """
    known = torch.from_numpy(~regions).float()[:, None]
    values = torch.from_numpy(pixels).float()[:, None]
    pulled = _push_pull(values * known, known)[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()
    return np.where(regions, pulled, pixels)


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


def pasted(
    base: NDArray[np.uint8], place: NDArray[np.bool_], donor: NDArray[np.uint8], region: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """The donor's region, moved so that its centre of mass lies at that of `place`, fading in over 3 pixels.

    base, donor uint8 [s, s]; place, region bool [s, s], neither empty -> uint8 [s, s].
    """
    move = np.round(np.argwhere(place).mean(axis=0) - np.argwhere(region).mean(axis=0))
    moved = shift(donor.astype(np.float32), move, order=0, mode="nearest")
    inside = shift(region.astype(np.uint8), move, order=0, mode="constant")
    # where nothing lies outside there is no distance to it
    weight = np.ones(inside.shape) if inside.all() else np.clip(distance_transform_edt(inside) / FEATHER, 0, 1)
    mixed: NDArray[np.uint8] = (weight * moved + (1 - weight) * base).round().astype(np.uint8)
    return mixed


def control_regions(
    region: NDArray[np.bool_],
    pixels: NDArray[np.uint8],
    count: int,
    generator: np.random.Generator,
    breast: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Up to `count` fair places for the region's own shape in the same sample, drawn at random: bool [k, h, w].

    region bool [h, w], not empty; pixels uint8 [h, w]. Fair: apart from the region; in tissue, at least half as bright
    on average as the sample is outside the region (filling in air removes nothing, and any lesion would seem necessary
    beside it); and as far from the sample's centre, within 6 % of its side, as networks and croppers favour the centre.
    Of a film, whose `breast` bool [h, w] is given, the last does not matter: a place lies wholly in the breast.
    k is 0 where there is no such place: the lesion is too large or too central, or only air lies beside it.
    """
    rows, columns = np.nonzero(region)
    top, left = rows.min(), columns.min()
    shape = region[top : rows.max() + 1, left : columns.max() + 1]
    apart = _sums_under(shape, region) < 0.5
    around = ~region if breast is None else ~region & breast
    least = pixels[around].mean() / 2 * shape.sum() if apart.any() and around.any() else 0.0
    tissue = _sums_under(shape, pixels) >= least - 0.5
    fair = _as_central(region, apart.shape) if breast is None else _sums_under(shape, ~breast) < 0.5
    places = np.argwhere(apart & tissue & fair)
    chosen = places[generator.permutation(len(places))[:count]]
    found = np.zeros((len(chosen), *region.shape), dtype=np.bool_)
    for at, (row, column) in zip(found, chosen, strict=True):
        at[row : row + shape.shape[0], column : column + shape.shape[1]] = shape
    return found


def _as_central(region: NDArray[np.bool_], places: tuple[int, ...]) -> NDArray[np.bool_]:
    """Places [rows, columns] at which the region is as far from the sample's centre as it is."""
    rows, columns = np.nonzero(region)
    middle = (len(region) - 1) / 2
    down = np.arange(places[0]) - rows.min() + rows.mean() - middle
    across = np.arange(places[1]) - columns.min() + columns.mean() - middle
    distance = np.hypot(down[:, None], across[None, :])
    central: NDArray[np.bool_] = np.abs(
        distance - np.hypot(rows.mean() - middle, columns.mean() - middle)
    ) <= FAIR * len(region)
    return central


def _sums_under(shape: NDArray[np.bool_], values: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.float64]:
    """Sums of values [r, c] under the shape bool [h, w] put at every place: [r - h + 1, c - w + 1], by FFT."""
    (rows, columns), (height, width) = values.shape, shape.shape
    padded = np.zeros((2 * rows, 2 * columns))
    padded[:rows, :columns] = values
    spectrum = np.fft.rfft2(padded) * np.conj(np.fft.rfft2(shape.astype(np.float64), padded.shape))
    sums: NDArray[np.float64] = np.fft.irfft2(spectrum, padded.shape)[: rows - height + 1, : columns - width + 1]
    return sums
