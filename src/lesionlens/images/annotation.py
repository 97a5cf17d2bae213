"""Annotations: from a mask file to marked pixels, their bounding box and their connected components."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from lesionlens.images.image import Picture, Pixels, resize_mask
from lesionlens.records import Box

THRESHOLD = 127  # masks are JPEGs: 1-19 and 236-254 occur around edges
SPECK_SHARE = 0.01  # a connected part (8 neighbours) below this share of the largest part's pixels is a speck
OVERLAP = 0.5  # intersection over union above which the smaller of two component boxes is suppressed
ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """The pixels of a lesion: its bounding box in the image and the mask inside it, bool [box height, box width]."""

    box: Box
    mask: NDArray[np.bool_]


class MaskShapeError(ValueError):
    """A mask whose aspect ratio is not its image's."""


def fit_mask(mask: Picture, shape: tuple[int, ...]) -> tuple[Pixels | NDArray[np.bool_], int, bool]:
    """A mask of the image's shape (height, width), the value above which it marks, and whether it had to be resized.

    Marked is what lies above 127 in a JPEG, above half of the largest value in a file without loss, so that masks of
    0 and 1 and of 0 and 255 mean the same. A mask of another size is resized (nearest) where its aspect ratio is the
    image's within 1 %, else MaskShapeError.
    """
    threshold = int(mask.pixels.max()) // 2 if mask.exact else THRESHOLD
    if mask.shape == shape:
        return mask.pixels, threshold, False
    (height, width), (rows, columns) = shape, mask.shape
    if not same_aspect((columns, rows), (width, height)):
        raise MaskShapeError(f"mask {columns} x {rows}, image {width} x {height}")
    return resize_mask(mask.pixels > threshold, width, height), 0, True


def binarise(mask: Picture, shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], bool]:
    """The marked pixels, bool [shape], and whether they had to be resized; see `fit_mask`."""
    pixels, threshold, resized = fit_mask(mask, shape)
    return pixels > threshold, resized


def same_aspect(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) have the same aspect ratio within 1 %."""
    return abs((a[0] * b[1]) / (a[1] * b[0]) - 1) <= ASPECT_TOLERANCE


def extent(mask: Pixels | NDArray[np.bool_], threshold: int = 0) -> Box | None:
    """Bounding box of the pixels above the threshold, None if there are none."""
    rows = np.flatnonzero(mask.max(axis=1) > threshold)
    if not rows.size:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].max(axis=0) > threshold)
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def find_roi(mask: Pixels | NDArray[np.bool_], threshold: int = 0) -> Roi | None:
    """The lesion of a full-size mask without its specks, None where nothing lies above the threshold."""
    box = extent(mask, threshold)
    if box is None:
        return None
    inner = mask[box.y0 : box.y1, box.x0 : box.x1] > threshold
    parts = label(inner, connectivity=2)  # type: ignore[no-untyped-call]
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = (sizes >= SPECK_SHARE * sizes.max())[parts]
    kept &= inner
    return _tight(kept, box)


def components(roi: Roi) -> tuple[Roi, ...]:
    """Connected parts (8 neighbours), largest box first; a box that overlaps a kept one too much is suppressed."""
    parts = label(roi.mask, connectivity=2)  # type: ignore[no-untyped-call]
    found = []
    for region in regionprops(parts):  # type: ignore[no-untyped-call]
        y0, x0, y1, x1 = region.bbox
        box = Box(roi.box.x0 + x0, roi.box.y0 + y0, roi.box.x0 + x1, roi.box.y0 + y1)
        found.append(Roi(box, region.image))
    found.sort(key=lambda part: (-part.box.width * part.box.height, part.box.y0, part.box.x0))
    kept: list[Roi] = []
    for part in found:
        if all(overlap(part.box, other.box) <= OVERLAP for other in kept):
            kept.append(part)
    return tuple(kept)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)


def _tight(mask: NDArray[np.bool_], within: Box) -> Roi | None:
    box = extent(mask)
    if box is None:
        return None
    placed = Box(within.x0 + box.x0, within.y0 + box.y0, within.x0 + box.x1, within.y0 + box.y1)
    return Roi(placed, mask[box.y0 : box.y1, box.x0 : box.x1])
