"""Image files to grey values: the only place that decodes pixels. Nothing outside the data root is opened."""

import warnings
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image as Pillow

from lesionlens.images.dicom import dicom_size, is_dicom, read_dicom
from lesionlens.images.image import BROKEN, MAX_PIXELS, GreyImage, UnusableImageError

FORMATS = ("JPEG", "PNG", "TIFF")
GREY = ("1", "L", "LA", "RGB", "RGBA")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N")
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # TIFF tags
WHITE_IS_ZERO = 0  # of PHOTOMETRIC; Pillow inverts such pixels at 8 bits, and not at more


def path_below(root: Path, relative: str) -> Path:
    """The file below `root`, links resolved; it may be missing.

    UnusableImageError 'refused' when it lies elsewhere, 'unreadable' when the system can't say: a name too long, links
    in a circle, a folder without permission.
    """
    named = PurePosixPath(relative)
    if not relative or named.is_absolute() or ".." in named.parts or "\0" in relative or "\\" in relative:
        raise UnusableImageError("refused", f"{relative!r} is not a plain path in UTF-8 below the data folder")
    try:
        path = (root / named).resolve()
        path.exists()
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "links in a circle"
        raise UnusableImageError("unreadable", f"{relative}: {why}") from error
    if not path.is_relative_to(root.resolve()):
        raise UnusableImageError("refused", f"{relative} is a link that leaves the data folder; copy the file into it")
    return path


def escaped(name: str) -> str:
    """A path as listed by the system, as text that can be stored.

    Bytes that are not UTF-8 become escapes, whose backslash `path_below` refuses.
    """
    return name.encode("utf-8", "backslashreplace").decode()


def image_size(root: Path, relative: str) -> tuple[int, int]:
    """(width, height) in pixels from the header alone. Raises UnusableImageError."""
    path = file_below(root, relative)
    if is_dicom(path):
        return dicom_size(path, relative)
    with _opened(path, relative) as image:
        return image.size


def read_image(root: Path, relative: str) -> GreyImage:
    """All grey values of a file at full depth. Colour becomes grey; transparency is ignored.

    Raises UnusableImageError for a file that is missing, truncated, corrupt, of several pages, of another kind than
    grey or colour with 8 to 16 bits, larger than MAX_PIXELS or outside the root.
    """
    path = file_below(root, relative)
    if is_dicom(path):
        return read_dicom(path, relative)
    with _opened(path, relative) as image:
        if image.mode not in (*GREY, *DEEP):
            raise UnusableImageError("unreadable", f"{relative} has pixels of mode {image.mode}, neither grey nor RGB")
        lossless = image.format != "JPEG"
        try:
            if getattr(image, "n_frames", 1) > 1:
                raise ValueError("several pages: save each as a file")
            if image.mode in DEEP:
                return _deep(image, lossless)
            return GreyImage(np.asarray(image if image.mode == "L" else image.convert("L")), 255, lossless)
        except (*BROKEN, LookupError, TypeError) as error:
            raise UnusableImageError("unreadable", f"{relative}: {ascii(str(error))[1:-1]}") from error


def _deep(image: Pillow.Image, lossless: bool) -> GreyImage:
    """More than 8 bits. ValueError where the header speaks of a depth that the pixels do not have."""
    tags = dict(getattr(image, "tag_v2", {}))
    bits = int(tags.get(BITS_PER_SAMPLE, (16,))[0])
    pixels = np.asarray(image).astype(np.uint16)
    white = int(2**bits - 1)
    if not 8 <= bits <= 16 or pixels.max() > white:
        raise ValueError(f"holds {pixels.max()}, but its header speaks of {bits} bits")
    inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    return GreyImage(np.uint16(white) - pixels if inverted else pixels, white, lossless)


def file_below(root: Path, relative: str) -> Path:
    """The file below `root`, links resolved. UnusableImageError as for `path_below`, and 'missing'."""
    path = path_below(root, relative)
    if not path.is_file():
        raise UnusableImageError("missing", f"{relative} is not there")
    return path


def _opened(path: Path, relative: str) -> Pillow.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns of large headers; the check below refuses them.
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            image = Pillow.open(path, formats=FORMATS)
    except Pillow.DecompressionBombError as error:
        raise UnusableImageError("too_large", f"{relative}: {error}") from error
    except BROKEN as error:
        kind = type(error).__name__
        raise UnusableImageError("unreadable", f"{relative} is no whole JPEG, PNG, TIFF or DICOM ({kind})") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise UnusableImageError("too_large", f"{relative} has {image.width} x {image.height} pixels")
    return image
