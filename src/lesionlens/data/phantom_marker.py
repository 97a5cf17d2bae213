"""The planted confounder: a marker beside a lesion that predicts the pathology and is no part of the lesion.

With probability `PhantomConfig.confounder`, drawn independently for every ROI of a malignant case, a bright cross
lies beside the ROI; benign and BENIGN_WITHOUT_CALLBACK cases never carry one. Its centre is 0.8 box sides from the
box's centre along one axis (and at most 0.3 along the other), its arms 0.1 of the smaller box side: wholly outside
the box of the mask, wholly inside a centred window of 3 box sides, and inside any window of that size whose shift is
at most half a box side. Everything else in the data set is the same with and without the confounder.
"""

import numpy as np
from numpy.typing import NDArray

from lesionlens.records import Box

AWAY = 0.8
ARM = 0.1


def mask_box(mask: NDArray[np.bool_]) -> Box:
    """Bounding box of a mask that has at least one pixel."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1)


def marker_place(box: Box, height: int, width: int, rng: np.random.Generator) -> tuple[float, float]:
    """Centre (x, y) in pixels of a marker beside `box`, inside the image wherever one of the four sides has room."""
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    aside = rng.uniform(-0.3, 0.3)
    sides = np.array([(AWAY, aside), (-AWAY, aside), (aside, AWAY), (aside, -AWAY)])[rng.permutation(4)]
    arm = ARM * min(box.width, box.height) + 1
    places = [(x + dx * box.width, y + dy * box.height) for dx, dy in sides]
    fits = [arm <= px < width - arm and arm <= py < height - arm for px, py in places]
    return places[fits.index(True) if any(fits) else 0]


def draw_marker(pixels: NDArray[np.float32], box: Box, centre: tuple[float, float]) -> None:
    """Draw the cross into `pixels` (float32 [height, width]) in place, full bright."""
    height, width = pixels.shape
    arm = max(ARM * min(box.width, box.height), 2.0)
    x0, y0 = max(int(centre[0] - arm), 0), max(int(centre[1] - arm), 0)
    x1, y1 = min(int(centre[0] + arm) + 2, width), min(int(centre[1] + arm) + 2, height)
    x = np.abs(np.arange(x0, x1) - centre[0])[None, :]
    y = np.abs(np.arange(y0, y1) - centre[1])[:, None]
    thick = max(arm / 3, 0.8)
    cross = ((x <= thick) & (y <= arm)) | ((y <= thick) & (x <= arm))
    pixels[y0:y1, x0:x1][cross] = 1.0
