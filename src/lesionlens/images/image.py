"""Grey values at the depth of their file, boxes in them, and the one mapping to 8 bits.

Windows are cut and resized at full depth; then grey = round(255 value / white), where white is the largest value that
the file's depth can hold: 255 for 8 bits, 2^BitsStored - 1 in DICOM, 2^BitsPerSample - 1 in TIFF, 65535 in 16-bit PNG.
No look-up table, window or rescaling that a header may suggest is applied, and MONOCHROME1 is inverted first, so that
0 is black everywhere. So a grey value means the same in every image, and 8-bit files keep theirs.
"""

import hashlib
import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from lesionlens.errors import one_line
from lesionlens.records import Box

MAX_PIXELS = 80_000_000  # more than twice the largest mammogram of CBIS-DDSM; a bomb decodes to far more
BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error)

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class UnusableImageError(Exception):
    """A file that gives no pixels: `reason` is a short code such as 'missing', 'refused' or 'unreadable'."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = one_line(detail)
        super().__init__(f"{reason}: {self.detail}")


@dataclass(frozen=True, slots=True, eq=False)
class GreyImage:
    """Grey values of a file, uint8 or uint16 [height, width], at full depth.

    `white`: the largest value of that depth. `lossless`: whether the file's compression is. `turn`: the orientation
    1 to 8 that the file asked for and `pixels` have.
    """

    pixels: Pixels
    white: int
    lossless: bool
    turn: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.pixels.shape
        return height, width

    def digest(self) -> str:
        """Identity of the pixels, whatever file they came from."""
        found = hashlib.sha1(f"{self.shape}".encode(), usedforsecurity=False)
        found.update(np.ascontiguousarray(self.pixels).data)
        return found.hexdigest()

    def mean(self, box: Box) -> float:
        """Mean grey of a box on the scale 0 to 255."""
        return float(self.pixels[box.y0 : box.y1, box.x0 : box.x1].mean()) * 255 / self.white

    def patch(self, box: Box, width: int, height: int, square: bool = False) -> NDArray[np.uint8]:
        """The box resized to uint8 [height, width]: bilinear at full depth, then mapped to 8 bits.

        `square` adds black on both sides of the shorter side first. Pillow widens the filter when it shrinks, so
        nothing aliases.
        """
        inner = self.pixels[box.y0 : box.y1, box.x0 : box.x1]
        if square:
            inner = squared(inner)
        image = Pillow.fromarray(np.ascontiguousarray(inner, dtype=np.uint8 if self.white == 255 else np.float32))
        resized = np.asarray(image.resize((width, height), Pillow.Resampling.BILINEAR))
        if self.white == 255:
            return resized
        grey: NDArray[np.uint8] = np.rint(np.clip(resized, 0, self.white) * (255 / self.white)).astype(np.uint8)
        return grey


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """What a mask file holds, whatever of it marks the lesion.

    `values` uint8 or uint16 [height, width]: grey values, palette indices, or the largest channel of a colour.
    `colour` uint8 [height, width, 3] of a palette or colour file, `alpha` uint8 [height, width] of one with
    transparency, else None. `lossless`, `turn`: as of GreyImage.
    """

    name: str
    values: Pixels
    colour: NDArray[np.uint8] | None
    alpha: NDArray[np.uint8] | None
    lossless: bool
    turn: int = 1


def resize_mask(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """A bool mask to [height, width], nearest neighbour."""
    image = Pillow.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(image.resize((width, height), Pillow.Resampling.NEAREST)) > 0


def squared(values: NDArray[Any]) -> NDArray[Any]:
    """A 2D array with zeros added on both sides of its shorter side, so that it is square."""
    height, width = values.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(values, ((top, side - height - top), (left, side - width - left)))


def bounding_box(mask: Pixels | NDArray[np.bool_], threshold: int = 0) -> Box | None:
    """Bounding box of the pixels above the threshold, None if there are none."""
    rows = np.flatnonzero(mask.max(axis=1) > threshold)
    if not rows.size:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].max(axis=0) > threshold)
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.width * a.height + b.width * b.height - width * height)


def encode_webp(pixels: NDArray[np.uint8], quality: int = 72) -> bytes:
    """A grey image uint8 [height, width] as lossy WebP."""
    stream = BytesIO()
    Pillow.fromarray(pixels).save(stream, "WEBP", quality=quality)
    return stream.getvalue()
