"""Annotations: from a mask file to the marked pixels, their bounding box and their connected components."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionlens.images.image import GreyImage, Pixels, UnusableImageError, bounding_box, box_iou, resize_mask
from lesionlens.records import Box

JPEG_THRESHOLD = 127  # of masks: 1-19 and 236-254 occur around edges
MIN_COMPONENT = 0.01  # smaller components, as a proportion of the largest one's pixels, are compression artefacts
MAX_COMPONENT_IOU = 0.5  # of two component boxes that overlap more, the smaller one is suppressed
ASPECT_TOLERANCE = 0.01
NEIGHBOURS = np.ones((3, 3), dtype=np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """The pixels of a lesion: its bounding box in the image and the mask inside it, bool [box height, box width]."""

    box: Box
    mask: NDArray[np.bool_]


def fit_mask(mask: GreyImage, shape: tuple[int, ...]) -> tuple[Pixels | NDArray[np.bool_], int, bool]:
    """A mask of the image's shape (height, width), the value above which it marks, and whether it had to be resized.

    Marked is what lies above 127 in a JPEG, above half of the largest value in a lossless file, so that masks of
    0 and 1 and of 0 and 255 mean the same. A mask of another size is resized (nearest) where its aspect ratio is the
    image's within 1 %, else UnusableImageError 'shape'.
    """
    threshold = int(mask.pixels.max()) // 2 if mask.lossless else JPEG_THRESHOLD
    if mask.shape == shape:
        return mask.pixels, threshold, False
    (height, width), (rows, columns) = shape, mask.shape
    if not same_aspect((columns, rows), (width, height)):
        raise UnusableImageError("shape", f"mask {columns} x {rows}, image {width} x {height}")
    return resize_mask(mask.pixels > threshold, width, height), 0, True


def same_aspect(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) have the same aspect ratio within 1 %."""
    return abs((a[0] * b[1]) / (a[1] * b[0]) - 1) <= ASPECT_TOLERANCE


def find_annotation(mask: Pixels | NDArray[np.bool_], threshold: int = 0) -> Annotation | None:
    """The annotation of a full-size mask without compression artefacts, None where nothing lies above the threshold."""
    box = bounding_box(mask, threshold)
    if box is None:
        return None
    inner = mask[box.y0 : box.y1, box.x0 : box.x1] > threshold
    labels, _ = ndimage.label(inner, NEIGHBOURS)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = inner & (sizes >= MIN_COMPONENT * sizes.max())[labels]
    tight = bounding_box(kept)
    assert tight is not None  # the largest component is kept
    placed = Box(box.x0 + tight.x0, box.y0 + tight.y0, box.x0 + tight.x1, box.y0 + tight.y1)
    return Annotation(placed, kept[tight.y0 : tight.y1, tight.x0 : tight.x1])


def components(annotation: Annotation) -> tuple[Annotation, ...]:
    """Its connected components (8 neighbours), largest box first; see MAX_COMPONENT_IOU."""
    labels, _ = ndimage.label(annotation.mask, NEIGHBOURS)
    found = []
    for n, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        x0, y0 = annotation.box.x0, annotation.box.y0
        box = Box(x0 + columns.start, y0 + rows.start, x0 + columns.stop, y0 + rows.stop)
        found.append(Annotation(box, labels[rows, columns] == n))
    found.sort(key=lambda component: (-component.box.width * component.box.height, component.box.y0, component.box.x0))
    kept: list[Annotation] = []
    for component in found:
        if all(box_iou(component.box, other.box) <= MAX_COMPONENT_IOU for other in kept):
            kept.append(component)
    return tuple(kept)
