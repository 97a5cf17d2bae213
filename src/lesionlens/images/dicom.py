"""DICOM files: headers as plain fields, and grey values at full depth."""

from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from lesionlens.images.image import BROKEN, MAX_PIXELS, GreyImage, Pixels, UnusableImageError

ERRORS = (
    *BROKEN, AttributeError, BytesLengthException, InvalidDicomError, LookupError, NotImplementedError, RuntimeError,
    TypeError,
)  # fmt: skip
# groups of four bytes at the start of a file without preamble: (0002,0000), (0002,0001), (0008,0000) to (0008,0018)
FIRST = tuple(bytes((group, 0, element, 0)) for group, element in (
    (2, 0), (2, 1), (8, 0), (8, 1), (8, 5), (8, 8), (8, 0x12), (8, 0x13), (8, 0x14), (8, 0x16), (8, 0x18),
))  # fmt: skip
TAGS = ("SeriesInstanceUID", "SeriesDescription", "PatientID", "BitsAllocated", "Rows", "Columns")
SIZE = ("Rows", "Columns")


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, whatever its name: it has a preamble, or begins with an element of group 2 or 8."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    return head[128:] == b"DICM" or (len(head) > 8 and head[:4] in FIRST)


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

    Raises UnusableImageError for colour, several frames, signed values, a depth outside 8 to 16 bits, values above the
    stored bits, and for a transfer syntax that no installed decoder knows.
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
    pixels, white = _values(dataset, bits, name), 2**bits - 1
    if pixels.max() > white:
        raise UnusableImageError("unreadable", f"{name} holds {pixels.max()}, but its header speaks of {bits} bits")
    if kind == "MONOCHROME1":
        pixels = pixels.dtype.type(white) - pixels
    return GreyImage(pixels, white, lossless=True)


def _values(dataset: FileDataset, bits: int, name: str) -> Pixels:
    """Stored values [height, width] without what lies below them, where HighBit leaves bits free there.

    pydicom looks at the lowest BitsStored bits of uncompressed values whatever HighBit says, and drops those above.
    """
    allocated, high = _number(dataset, "BitsAllocated", name), _number(dataset, "HighBit", name) or bits - 1
    try:
        native = not dataset.file_meta.TransferSyntaxUID.is_encapsulated
        if not bits - 1 <= high < allocated or (high != bits - 1 and not native):
            raise ValueError(f"high bit {high}, {bits} of {allocated} bits stored")
        if native:
            dataset.BitsStored, dataset.HighBit = allocated, allocated - 1
        pixels = dataset.pixel_array
    except ERRORS as error:
        lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
        extra = "; install lesionlens[dicom]" if "missing dependencies" in str(error) else ""
        raise UnusableImageError("unreadable", f"{name}: {ascii(' '.join(lines))[1:-1]}{extra}") from error
    if pixels.ndim != 2:
        raise UnusableImageError("unreadable", f"{name}: pixels of several samples; one grey value each is needed")
    below = pixels.dtype.type(high + 1 - bits)
    shifted: Pixels = pixels >> below
    return shifted


def _dataset(path: Path, name: str, **options: Any) -> FileDataset:
    """A header, and pixels; the transfer syntax of a file without meta information is that of its elements."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        # A deflated file would be unpacked whole before its size is known.
        if str(DeflatedExplicitVRLittleEndian).encode() in head:
            raise UnusableImageError("unreadable", f"{name} is deflated; save it without compression")
        dataset = dcmread(path, force=head[128:132] != b"DICM", **options)
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little = dataset.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
        return dataset
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
