"""Windows: where a patch is cut, around a lesion or in tissue without one."""

from collections.abc import Sequence
from math import floor

import numpy as np
from numpy.typing import NDArray

from lesionlens.images.annotation import Annotation
from lesionlens.images.image import GreyImage, box_iou, resize_mask, squared
from lesionlens.records import Box

TRIES = 300  # places drawn for a background window of one size
LEAST_OVERLAP = 0.9  # of a lesion and its window in a film
MAX_IOU = 0.25  # of two background windows of one image


def median_position(annotation: Annotation) -> tuple[float, float]:
    """(x, y) of the median mask pixel along each axis, in image coordinates where pixel i covers i to i + 1."""
    x = _median(annotation.mask.sum(axis=0))
    y = _median(annotation.mask.sum(axis=1))
    return annotation.box.x0 + x + 0.5, annotation.box.y0 + y + 0.5


def lesion_window(
    annotation: Annotation,
    shape: tuple[int, ...],
    context: float,
    jitter: float = 0.0,
    draw: tuple[float, float] = (0.5, 0.5),
    square: bool = False,
) -> Box:
    """The window of `context` times the lesion box, centred at the median mask pixel.

    It is clipped to the image; a `square` one, of `context` times the box's longer side, is moved into it instead, and
    clipped only where it is larger than the image. `jitter` moves it along each axis by that proportion of the way
    towards a place drawn evenly (`draw`, two numbers in [0, 1)) among all places where it holds the whole lesion box.
    The lesion box is always wholly inside.
    """
    height, width = shape
    (x, y), box = median_position(annotation), annotation.box
    lengths = _length(box.width, context), _length(box.height, context)
    if square:
        lengths = max(lengths), max(lengths)
    x0, x1 = _span(box.x0, box.x1, x, lengths[0], jitter, draw[0], width if square else None)
    y0, y1 = _span(box.y0, box.y1, y, lengths[1], jitter, draw[1], height if square else None)
    return Box(max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))


def film_window(shape: tuple[int, int], side: int, film: tuple[int, int], pad: bool) -> tuple[int, int]:
    """Width and height in pixels of an image of `shape` (height, width) that are `side` pixels each of the film that it
    becomes, (height, width), stretched or padded; at most the image's own.
    """
    (height, width), (rows, columns) = shape, film
    down, across = height / rows, width / columns
    if pad:
        down = across = max(down, across)
    return min(width, max(1, round(side * across))), min(height, max(1, round(side * down)))


def windows_of_lesion(
    annotation: Annotation, shape: tuple[int, int], size: tuple[int, int], copies: int, rng: np.random.Generator
) -> tuple[Box, ...]:
    """Windows of `size` (width, height) that a lesion fills by nine tenths, or that hold nine tenths of its box: the
    first centred at the median mask pixel as far as the image of `shape` admits, up to `copies` at random
    places, no two the same.
    """
    (x, y), (width, height), box = median_position(annotation), size, annotation.box
    wanted = LEAST_OVERLAP * min(box.width * box.height, width * height)
    found = [_moved_inside(x - width / 2, y - height / 2, size, shape)]
    for _ in range(TRIES if copies > 1 else 0):
        left = rng.integers(max(0, box.x0 - width), min(shape[1] - width, box.x1) + 1)
        top = rng.integers(max(0, box.y0 - height), min(shape[0] - height, box.y1) + 1)
        window = Box(int(left), int(top), int(left) + width, int(top) + height)
        across = min(window.x1, box.x1) - max(window.x0, box.x0)
        down = min(window.y1, box.y1) - max(window.y0, box.y0)
        if across > 0 and down > 0 and across * down >= wanted and window not in found:
            found.append(window)
        if len(found) == copies:
            break
    return tuple(found)


def _moved_inside(left: float, top: float, size: tuple[int, int], shape: tuple[int, int]) -> Box:
    x0 = min(max(floor(left + 0.5), 0), shape[1] - size[0])
    y0 = min(max(floor(top + 0.5), 0), shape[0] - size[1])
    return Box(x0, y0, x0 + size[0], y0 + size[1])


def cut_mask(annotation: Annotation, window: Box, size: int, square: bool = False) -> tuple[NDArray[np.bool_], float]:
    """The mask in the window, bool [size, size] by nearest neighbour, and its proportion of the window before that.

    `square`: a window that is none gets unmarked sides, as GreyImage.patch gives it black ones.
    """
    mask = np.zeros((window.height, window.width), dtype=np.bool_)
    x0, x1 = max(annotation.box.x0, window.x0), min(annotation.box.x1, window.x1)
    y0, y1 = max(annotation.box.y0, window.y0), min(annotation.box.y1, window.y1)
    if x0 < x1 and y0 < y1:
        source = annotation.mask[
            y0 - annotation.box.y0 : y1 - annotation.box.y0, x0 - annotation.box.x0 : x1 - annotation.box.x0
        ]
        mask[y0 - window.y0 : y1 - window.y0, x0 - window.x0 : x1 - window.x0] = source
    if square:
        mask = squared(mask)
    return resize_mask(mask, size, size), float(mask.mean())


def _median(counts: NDArray[np.intp]) -> float:
    """Median index, weighted by counts; the mean of the two middle ones for an even total."""
    total = np.cumsum(counts)
    low, high = np.searchsorted(total, [(total[-1] - 1) // 2 + 1, total[-1] // 2 + 1])
    return float(low + high) / 2


def _length(side: int, context: float) -> int:
    return max(floor(context * side + 0.5), side)


def _span(
    start: int, stop: int, centre: float, length: int, jitter: float, draw: float, inside: int | None
) -> tuple[int, int]:
    """First and last + 1 pixel of a window along one axis, before clipping; within 0..`inside` where that is given."""
    first, last = stop - length, start  # where it may begin and still hold start..stop
    if inside is not None:
        if length > inside:
            return 0, inside
        first, last = max(first, 0), min(last, inside - length)
    centred = min(max(centre - length / 2, first), last)
    begin = floor(centred + jitter * (first + draw * (last - first) - centred) + 0.5)
    begin = min(max(begin, first), last)
    return begin, begin + length


def background_windows(
    image: GreyImage,
    masked: NDArray[np.bool_],
    sizes: Sequence[tuple[int, int]],
    min_mean: float,
    most: int,
    rng: np.random.Generator,
) -> tuple[Box, ...]:
    """Up to `most` windows inside the image, in the order found.

    masked bool [h, w]; sizes (width, height) are used in turn, each until a place is found for it or its tries run
    out. A window holds no masked pixel, its mean grey (0 to 255) is above `min_mean`, and no two overlap by more than
    MAX_IOU.
    """
    height, width = image.shape
    found: list[Box] = []
    fitting = [size for size in sizes if size[0] <= width and size[1] <= height][: 2 * most]
    for w, h in fitting:
        if len(found) == most:
            break
        for _ in range(TRIES):
            x0, y0 = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            box = Box(x0, y0, x0 + w, y0 + h)
            if _accepted(image, masked, box, min_mean) and all(box_iou(box, other) <= MAX_IOU for other in found):
                found.append(box)
                break
    return tuple(found)


def _accepted(image: GreyImage, masked: NDArray[np.bool_], box: Box, min_mean: float) -> bool:
    return not masked[box.y0 : box.y1, box.x0 : box.x1].any() and image.mean(box) > min_mean
