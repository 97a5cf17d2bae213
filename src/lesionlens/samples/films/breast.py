"""Where a film shows the breast."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

DARK = 0.05
"""Grey of the background at most, as a proportion of the brightest pixel."""
LEAST, MOST = 0.05, 0.95
"""Proportions of a film between which a breast is believed."""


def breast_mask(grey: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """The largest connected part of a film that is brighter than its background, holes filled: bool [h, w].

    grey uint8 [h, w], after a median filter of 3 x 3. None where that is less than 5 % or more than 95 % of the film:
    then nothing tells breast from background.
    """
    smooth = ndimage.median_filter(grey, 3)
    parts, count = ndimage.label(smooth > DARK * smooth.max())
    if not count:
        return None
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    found: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == largest)
    return found if LEAST <= found.mean() <= MOST else None
