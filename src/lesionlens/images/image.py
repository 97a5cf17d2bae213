"""Grey values at the depth of their file, and the one mapping to 8 bits.

Windows are cut and resized at full depth; then grey = round(255 value / top), where top is the largest value that the
file's depth can hold: 255 for 8 bits, 2^BitsStored - 1 in DICOM, 2^BitsPerSample - 1 in TIFF, 65535 in 16-bit PNG. No
look-up table, window or rescaling that a header may suggest is applied, and MONOCHROME1 is turned over first, so that
0 is black everywhere. So a grey value means the same in every image, and 8-bit files keep theirs.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from lesionlens.records import Box

MAX_PIXELS = 80_000_000  # more than twice the largest mammogram of CBIS-DDSM; a bomb decodes to far more
BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error)

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class UnusableImageError(Exception):
    """A file that gives no pixels. `reason` is 'missing', 'refused', 'too_large' or 'unreadable'."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Grey values of a file, uint8 or uint16 [height, width], at full depth; `top` is white.

    `exact` says that the file's compression loses nothing.
    """

    pixels: Pixels
    top: int
    exact: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.pixels.shape
        return height, width

    def mean(self, box: Box) -> float:
        """Mean grey of a box on the scale 0 to 255."""
        return float(crop(self.pixels, box).mean()) * 255 / self.top

    def patch(self, box: Box, width: int, height: int) -> NDArray[np.uint8]:
        """The box resized to uint8 [height, width]: resized at full depth, then mapped to 8 bits."""
        inner = crop(self.pixels, box)
        if self.top == 255:
            return resize(inner.astype(np.uint8, copy=False), width, height)
        image = Pillow.fromarray(inner.astype(np.float32))
        resized = np.asarray(image.resize((width, height), Pillow.Resampling.BILINEAR))
        grey: NDArray[np.uint8] = np.rint(np.clip(resized, 0, self.top) * (255 / self.top)).astype(np.uint8)
        return grey


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """To [height, width], bilinear; Pillow widens the filter when it shrinks, so nothing aliases."""
    image = Pillow.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((width, height), Pillow.Resampling.BILINEAR))


def resize_mask(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """A bool mask to [height, width], nearest neighbour."""
    image = Pillow.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(image.resize((width, height), Pillow.Resampling.NEAREST)) > 0


def crop(pixels: Pixels, box: Box) -> Pixels:
    """A view of the box, which lies inside the image."""
    return pixels[box.y0 : box.y1, box.x0 : box.x1]
