"""Image files to grey values: the only place that decodes pixels. Nothing outside the data root is opened."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, ImageOps
from PIL import Image as Pillow

from lesionlens.images.dicom import dicom_size, is_dicom, read_dicom
from lesionlens.images.image import BROKEN, MAX_PIXELS, GreyImage, MaskFile, UnusableImageError

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
GREY = ("1", "L", "LA", "RGB", "RGBA")
PALETTE = ("P", "PA")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N")
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES, PLANAR, SAMPLE_FORMAT = 258, 262, 277, 284, 339  # TIFF tags
Decoded = TypeVar("Decoded", GreyImage, MaskFile)
SIGNED = 2  # of SAMPLE_FORMAT
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
    """(width, height) in pixels from the header alone, as shown: after its orientation. Raises UnusableImageError."""
    path = file_below(root, relative)
    if is_dicom(path):
        return dicom_size(path, relative)
    with _opened(path, relative) as image:
        width, height = _stored_size(image)
        return (height, width) if _orientation(image) > 4 else (width, height)


def read_image(root: Path, relative: str) -> GreyImage:
    """All grey values of a file at full depth, turned as its orientation says. Colour becomes grey; transparency is
    ignored.

    Raises UnusableImageError for a file that is missing, truncated, corrupt, of several pages, of another kind than
    grey or colour with 8 to 16 bits, larger than MAX_PIXELS or outside the root.
    """
    path = file_below(root, relative)
    if is_dicom(path):
        return read_dicom(path, relative)
    with _opened(path, relative) as image:
        return _read(image, relative, GREY, _grey)


def read_mask(root: Path, relative: str) -> MaskFile:
    """Everything in a file that may say what it marks. Raises UnusableImageError as `read_image`; palettes are read."""
    path = file_below(root, relative)
    if is_dicom(path):
        grey = read_dicom(path, relative)
        return MaskFile(relative, grey.pixels, None, None, lossless=True)
    with _opened(path, relative) as image:
        found = _read(image, relative, (*GREY, *PALETTE), _coded)
        return replace(found, name=relative)


def _read(
    image: Pillow.Image, relative: str, modes: tuple[str, ...], take: Callable[[Pillow.Image, int], Decoded]
) -> Decoded:
    if image.mode not in (*modes, *DEEP):
        raise UnusableImageError("unreadable", f"{relative} has pixels of mode {image.mode}, neither grey nor RGB")
    try:
        if getattr(image, "n_frames", 1) > 1:
            raise ValueError("several pages: save each as a file")
        _check_layout(image)
        turn = _orientation(image)
        return take(_upright(image, turn), turn)
    except (*BROKEN, LookupError, TypeError) as error:
        raise UnusableImageError("unreadable", f"{relative}: {ascii(str(error))[1:-1]}") from error


def _grey(image: Pillow.Image, turn: int) -> GreyImage:
    lossless = image.format != "JPEG"
    if image.mode in DEEP:
        pixels, white = _deep(image)
        return GreyImage(pixels, white, lossless, turn)
    return GreyImage(np.asarray(image if image.mode == "L" else image.convert("L")), 255, lossless, turn)


def _coded(image: Pillow.Image, turn: int) -> MaskFile:
    lossless = image.format != "JPEG"
    if image.mode in DEEP:
        return MaskFile("", _deep(image)[0], None, None, lossless, turn)
    has_alpha = image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info
    alpha = np.asarray(image.convert("RGBA").getchannel("A")) if has_alpha else None
    if image.mode in ("1", "L", "LA"):
        return MaskFile("", np.asarray(image.convert("L")), None, alpha, lossless, turn)
    colour = np.asarray(image.convert("RGB"))
    values: NDArray[np.uint8] = np.asarray(image.getchannel(0)) if image.mode in PALETTE else colour.max(axis=2)
    return MaskFile("", values, colour, alpha, lossless, turn)


def _orientation(image: Pillow.Image) -> int:
    """1 to 8, as EXIF and TIFF number them; 1 where the file says nothing or something else."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (*BROKEN, LookupError, TypeError):
        return 1
    return found if found in range(1, 9) else 1


def _stored_size(image: Pillow.Image) -> tuple[int, int]:
    """(width, height) of the pixels as stored; Pillow exchanges the two when it opens a turned TIFF."""
    width, height = getattr(image, "_tile_size", image.size)
    return int(width), int(height)


def _upright(image: Pillow.Image, turn: int) -> Pillow.Image:
    """Decoded and turned as its orientation says. Pillow turns a TIFF by itself, any other file not."""
    if image.format == "TIFF":
        # Pillow 13 decodes an uncompressed TIFF of orientation 5 to 8 at the exchanged size, which scrambles its rows
        image._size = _stored_size(image)
    elif turn > 1:
        turned = ImageOps.exif_transpose(image)
        turned.format = image.format
        return turned
    image.load()
    return image


def _check_layout(image: Pillow.Image) -> None:
    """ValueError for what Pillow reads wrongly in a TIFF: several values a pixel that are grey or planes of 16 bits,
    and signed values."""
    tags = dict(getattr(image, "tag_v2", {}))
    if SIGNED in np.atleast_1d(tags.get(SAMPLE_FORMAT, ())):
        raise ValueError("signed values: save it with values from 0")
    deep = max(tags.get(BITS_PER_SAMPLE, (8,))) > 8
    if tags.get(SAMPLES, 1) > 1 and (image.mode in DEEP or (tags.get(PLANAR) == 2 and deep)):
        raise ValueError("several values a pixel in planes of their own: save it as grey, or RGB pixel by pixel")


def _deep(image: Pillow.Image) -> tuple[NDArray[np.uint16], int]:
    """Pixels of more than 8 bits, and white. ValueError where the header speaks of a depth that they do not have."""
    tags = dict(getattr(image, "tag_v2", {}))
    bits = int(tags.get(BITS_PER_SAMPLE, (16,))[0])
    pixels = np.asarray(image).astype(np.uint16)
    white = int(2**bits - 1)
    if not 8 <= bits <= 16 or pixels.max() > white:
        raise ValueError(f"holds {pixels.max()}, but its header speaks of {bits} bits")
    inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    return np.uint16(white) - pixels if inverted else pixels, white


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
        raise UnusableImageError(
            "unreadable", f"{relative} is no whole JPEG, PNG, TIFF, BMP or DICOM ({kind})"
        ) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise UnusableImageError("too_large", f"{relative} has {image.width} x {image.height} pixels")
    return image
