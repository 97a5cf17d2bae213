"""DICOM files: headers as plain fields, and grey values at full depth."""

from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lesionlens.images.image import BROKEN, MAX_PIXELS, GreyImage, UnusableImageError

ERRORS = (
    *BROKEN, AttributeError, BytesLengthException, InvalidDicomError, LookupError, NotImplementedError, RuntimeError,
    TypeError,
)  # fmt: skip
TAGS = ("SeriesInstanceUID", "SeriesDescription", "PatientID", "BitsAllocated", "Rows", "Columns")
SIZE = ("Rows", "Columns")


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its first bytes, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path, name: str) -> dict[str, str]:
    """TAGS as text, '' for a missing one. UnusableImageError 'unreadable' for what is not a whole DICOM header."""
    dataset = _dataset(path, name, specific_tags=list(TAGS), stop_before_pixels=True)
    values = {tag: _value(dataset, tag, name) for tag in TAGS}
    return {tag: "" if value is None else str(value).strip() for tag, value in values.items()}


def dicom_size(path: Path, name: str) -> tuple[int, int]:
    """(width, height) in pixels from the header alone. Raises UnusableImageError."""
    return _size(_dataset(path, name, specific_tags=list(SIZE), stop_before_pixels=True), name)


def read_dicom(path: Path, name: str) -> GreyImage:
    """Grey values at full depth; white is 2^BitsStored - 1, MONOCHROME1 is inverted.

    Raises UnusableImageError for colour, several frames, signed values, a depth outside 8 to 16 bits, and for a
    transfer syntax that no installed decoder knows.
    """
    dataset = _dataset(path, name)
    _size(dataset, name)
    kind = str(_value(dataset, "PhotometricInterpretation", name) or "no photometric interpretation")
    bits = _number(dataset, "BitsStored", name)
    frames = _number(dataset, "NumberOfFrames", name) or 1
    signed = _number(dataset, "PixelRepresentation", name)
    if kind not in ("MONOCHROME1", "MONOCHROME2") or frames != 1 or signed:
        what = f"{kind!a}, {frames} frames{', signed' if signed else ''}"
        raise UnusableImageError("unreadable", f"{name}: {what}; one unsigned grey frame is needed")
    if not 8 <= bits <= 16:
        raise UnusableImageError("unreadable", f"{name}: {bits} bits stored, 8 to 16 are read")
    try:
        pixels = dataset.pixel_array
    except ERRORS as error:
        words = ascii((str(error).splitlines() or [type(error).__name__])[0])[1:-1]
        raise UnusableImageError("unreadable", f"{name}: {words}") from error
    if pixels.ndim != 2:
        raise UnusableImageError("unreadable", f"{name}: pixels of several samples; one grey value each is needed")
    white = 2**bits - 1
    if kind == "MONOCHROME1":
        pixels = pixels.dtype.type(white) - pixels
    return GreyImage(pixels, white, lossless=True)


def _dataset(path: Path, name: str, **options: Any) -> FileDataset:
    try:
        # A deflated file would be unpacked whole before its size is known.
        if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise UnusableImageError("unreadable", f"{name} is deflated; save it without compression")
        return dcmread(path, **options)
    except ERRORS as error:
        raise UnusableImageError("unreadable", f"{name} is no whole DICOM file ({type(error).__name__})") from error


def _value(dataset: FileDataset, tag: str, name: str) -> Any:
    """A field of the header, None for a missing one; pydicom decodes its bytes only now."""
    try:
        return dataset.get(tag)
    except ERRORS as error:
        raise UnusableImageError("unreadable", f"{name}: {tag} in its header is damaged") from error


def _number(dataset: FileDataset, tag: str, name: str) -> int:
    """A whole number of the header, 0 for a missing one."""
    value = _value(dataset, tag, name)
    try:
        return int(value or 0)
    except ERRORS as error:
        raise UnusableImageError("unreadable", f"{name}: {tag} in its header is no number") from error


def _size(dataset: FileDataset, name: str) -> tuple[int, int]:
    width, height = _number(dataset, "Columns", name), _number(dataset, "Rows", name)
    if not width or not height:
        raise UnusableImageError("unreadable", f"{name}: its header has no size")
    if width * height > MAX_PIXELS:
        raise UnusableImageError("too_large", f"{name} has {width} x {height} pixels")
    return width, height
