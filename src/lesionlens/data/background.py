"""Background windows: tissue away from every mask (protocol section 3)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionlens.images.annotation import overlap
from lesionlens.images.image import Picture
from lesionlens.records import Box

TRIES = 300
SHARED = 0.25  # most intersection over union of two windows of one image


def background_windows(
    picture: Picture,
    masked: NDArray[np.bool_],
    sizes: Sequence[tuple[int, int]],
    min_mean: float,
    most: int,
    rng: np.random.Generator,
) -> tuple[Box, ...]:
    """Up to `most` windows inside the image, in the order found.

    masked bool [h, w]; sizes (width, height) are used in turn, each until a place is found for it or its tries run
    out. A window holds no masked pixel, its mean grey (0 to 255) is above `min_mean`, and no two have more than a
    quarter of their union in common.
    """
    height, width = picture.shape
    found: list[Box] = []
    fitting = [size for size in sizes if size[0] <= width and size[1] <= height][: 2 * most]
    for w, h in fitting:
        if len(found) == most:
            break
        for _ in range(TRIES):
            x0, y0 = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            box = Box(x0, y0, x0 + w, y0 + h)
            if _accepted(picture, masked, box, min_mean) and all(overlap(box, other) <= SHARED for other in found):
                found.append(box)
                break
    return tuple(found)


def _accepted(picture: Picture, masked: NDArray[np.bool_], box: Box, min_mean: float) -> bool:
    return not masked[box.y0 : box.y1, box.x0 : box.x1].any() and picture.mean(box) > min_mean
