"""The only place that decodes pixels. Nothing outside the data root is opened."""

import struct
import warnings
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from lesionlens.records import Box

FORMATS = ("JPEG", "PNG")
MAX_PIXELS = 80_000_000  # more than twice the largest mammogram of CBIS-DDSM; a bomb decodes to far more

_BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error)


class UnusableImageError(Exception):
    """A file that gives no pixels. `reason` is 'missing', 'refused', 'too_large' or 'unreadable'."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def inside(root: Path, relative: str) -> Path:
    """The file below `root`, links resolved. UnusableImageError 'refused' when it lies elsewhere."""
    named = PurePosixPath(relative)
    if not relative or named.is_absolute() or ".." in named.parts or "\0" in relative or "\\" in relative:
        raise UnusableImageError("refused", f"{relative!r} is not a plain path below the data folder")
    path = (root / named).resolve()
    if not path.is_relative_to(root.resolve()):
        raise UnusableImageError("refused", f"{relative} is a link that leaves the data folder; copy the file into it")
    return path


def image_size(root: Path, relative: str) -> tuple[int, int]:
    """(width, height) in pixels from the header alone. Raises UnusableImageError."""
    with _opened(root, relative) as image:
        return image.size


def read_grey(root: Path, relative: str) -> NDArray[np.uint8]:
    """All pixels, uint8 [height, width]. Raises UnusableImageError for a file that is missing, truncated, corrupt, of
    another kind than 8-bit grey or RGB, larger than MAX_PIXELS or outside the root."""
    with _opened(root, relative) as image:
        if image.mode not in ("L", "RGB"):
            raise UnusableImageError("unreadable", f"{relative} has pixels of mode {image.mode}, not 8-bit grey")
        try:
            return np.asarray(image if image.mode == "L" else image.convert("L"))
        except _BROKEN as error:
            raise UnusableImageError("unreadable", f"{relative}: {error}") from error


def resize(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """To [size, size], bilinear; Pillow widens the filter when it shrinks, so nothing aliases."""
    image = Pillow.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((size, size), Pillow.Resampling.BILINEAR))


def resize_mask(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """A bool mask to [height, width], nearest neighbour."""
    image = Pillow.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(image.resize((width, height), Pillow.Resampling.NEAREST)) > 0


def crop(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """A view of the box, which lies inside the image."""
    return pixels[box.y0 : box.y1, box.x0 : box.x1]


def _opened(root: Path, relative: str) -> Pillow.Image:
    path = inside(root, relative)
    if not path.is_file():
        raise UnusableImageError("missing", f"{relative} is not there")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large headers; the check below refuses them.
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            image = Pillow.open(path, formats=FORMATS)
    except Pillow.DecompressionBombError as error:
        raise UnusableImageError("too_large", f"{relative}: {error}") from error
    except _BROKEN as error:
        raise UnusableImageError(
            "unreadable", f"{relative} is no whole JPEG or PNG ({type(error).__name__})"
        ) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise UnusableImageError("too_large", f"{relative} has {image.width} x {image.height} pixels")
    return image
