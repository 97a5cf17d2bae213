"""Patches as small pictures inside a page, within the room that the page has for them."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 72
LEVELS = ((QUALITY, 1), (50, 1), (30, 1), (30, 2), (20, 4))
"""WebP quality, and by how much the sides shrink: tried in turn until all pictures fit."""


def pictures(patches: Sequence[NDArray[np.uint8]], room: int) -> tuple[list[str], bool]:
    """Data URIs of grey patches uint8 [s, s] that have at most `room` characters together, and whether that took
    less than the usual quality. The smallest level is taken as it comes.
    """
    found: list[str] = []
    for quality, shrink in LEVELS:
        found = [webp(patch, quality, shrink) for patch in patches]
        if sum(map(len, found)) <= room:
            return found, (quality, shrink) != LEVELS[0]
    return found, True


def webp(pixels: NDArray[np.uint8], quality: int = QUALITY, shrink: int = 1) -> str:
    """A grey patch uint8 [s, s] as a WebP data URI, its sides divided by `shrink`."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.reduce(shrink) if shrink > 1 else image).save(buffer, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
