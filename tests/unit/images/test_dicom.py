"""DICOM files and the DICOM edition, in every tree that a download makes: real files, written by pydicom."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import image_size, read_image
from tests.unit.files import write_dicom

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # readable names stand for series here

CASES = Path(__file__).resolve().parents[2] / "cases"
RAMP = np.arange(60 * 40, dtype=np.uint16).reshape(60, 40)


def refused(root: Path, name: str = "a.dcm") -> str:
    with pytest.raises(UnusableImageError) as error:
        read_image(root, name)
    return f"{error.value.reason}: {error.value.detail}"


@pytest.mark.parametrize(("bits", "top"), [(12, 4095), (16, 65535)])
@pytest.mark.parametrize("turned", [False, True])
def test_pixels_come_at_full_depth_with_black_as_zero(tmp_path: Path, bits: int, top: int, turned: bool) -> None:
    stored = (top - RAMP if turned else RAMP).astype(np.uint16)
    kind = "MONOCHROME1" if turned else "MONOCHROME2"
    write_dicom(tmp_path / "a.dcm", stored, BitsStored=bits, HighBit=bits - 1, PhotometricInterpretation=kind)
    picture = read_image(tmp_path, "a.dcm")
    np.testing.assert_array_equal(picture.pixels, RAMP)
    assert (picture.white, picture.lossless, picture.pixels.dtype) == (top, True, np.uint16)
    assert image_size(tmp_path, "a.dcm") == (40, 60)


def test_a_header_that_suggests_a_window_or_a_rescaling_changes_nothing(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=100, WindowWidth=10, RescaleSlope=3, RescaleIntercept=-7)
    np.testing.assert_array_equal(read_image(tmp_path, "a.dcm").pixels, RAMP)


def test_the_name_of_a_file_tells_nothing(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.jpg", RAMP)
    assert read_image(tmp_path, "a.jpg").white == 65535
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.dcm")
    assert read_image(tmp_path, "b.dcm").white == 255


def test_spoilt_dicom_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    write_dicom(path, RAMP)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path).startswith("unreadable")
    path.write_bytes(whole[:140])
    assert refused(tmp_path).startswith("unreadable")
    path.write_bytes(whole[:132])
    assert refused(tmp_path).startswith("unreadable")
    for tags, words in (
        ({"PhotometricInterpretation": "RGB"}, "RGB"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"PixelRepresentation": 1}, "one unsigned grey frame"),
        ({"BitsStored": 6}, "6 bits stored"),
        ({"Rows": 0}, "has no size"),
        ({"Rows": [60, 60]}, "Rows in its header is no number"),
        ({"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Rows": 20}, "several samples"),
    ):
        write_dicom(path, RAMP, **tags)
        found = refused(tmp_path)
        assert found.startswith("unreadable") and words in found, tags
    write_dicom(path, RAMP, Rows=60_000, Columns=60_000)
    assert refused(tmp_path).startswith("too_large")


def test_a_deflated_file_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP)
    dataset = dcmread(tmp_path / "a.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a.dcm")
    assert "deflated" in refused(tmp_path)


@pytest.mark.parametrize("name", ["jpeg_lossless", "jpeg_ls"])
def test_lossless_compressions_give_every_pixel(name: str) -> None:
    found = read_image(CASES, f"{name}.dcm")
    np.testing.assert_array_equal(found.pixels, np.load(CASES / "lossless.npy", allow_pickle=False))
    assert found.pixels.dtype == np.uint16


ALONE = """
import sys
sys.modules["pylibjpeg"] = None  # as if it were not installed
from pathlib import Path
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import read_image
for name in sys.argv[2:]:
    try:
        read_image(Path(sys.argv[1]), name)
    except UnusableImageError as error:
        print(f"{error.reason}: {error.detail}")
"""


def test_a_compression_without_decoder_names_what_to_install(tmp_path: Path) -> None:
    """The frames are no real ones: what is asked is which package reads them."""
    names = []
    for syntax in (JPEGLosslessSV1, JPEGLSLossless, HTJ2KLossless):
        names.append(f"{syntax.keyword}.dcm")
        encapsulated(tmp_path / names[-1], syntax)
    found = subprocess.run([sys.executable, "-c", ALONE, tmp_path, *names], capture_output=True, text=True, check=True)
    lines = found.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("unreadable") and "pylibjpeg" in line and line.endswith("install lesionlens[dicom]")


def test_a_damaged_frame_and_a_high_bit_that_no_compression_has_are_named(tmp_path: Path) -> None:
    encapsulated(tmp_path / "a.dcm", JPEGLosslessSV1)
    assert refused(tmp_path).startswith("unreadable") and "\n" not in refused(tmp_path)
    encapsulated(tmp_path / "a.dcm", JPEGLosslessSV1, HighBit=15, BitsStored=12)
    assert "high bit 15, 12 of 16 bits stored" in refused(tmp_path)


def encapsulated(path: Path, syntax: UID, **tags: int) -> None:
    write_dicom(path, RAMP)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].VR = "OB"
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_values_lie_where_the_high_bit_says(tmp_path: Path, kind: str) -> None:
    """12 bits in the upper part of 16: never the lower ones, which hold something else."""
    below = np.arange(RAMP.size, dtype=np.uint16).reshape(RAMP.shape) % 16
    stored = 4095 - RAMP if kind == "MONOCHROME1" else RAMP
    write_dicom(
        tmp_path / "a.dcm", (stored << 4) | below, BitsStored=12, HighBit=15, PhotometricInterpretation=kind
    )  # fmt: skip
    picture = read_image(tmp_path, "a.dcm")
    np.testing.assert_array_equal(picture.pixels, RAMP)
    assert picture.white == 4095
    write_dicom(tmp_path / "a.dcm", RAMP, BitsStored=12, HighBit=7)
    assert "high bit 7, 12 of 16 bits stored" in refused(tmp_path)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("value", [0x1FFF, 0x9000])
def test_values_above_the_stored_bits_are_refused(tmp_path: Path, kind: str, value: int) -> None:
    pixels = RAMP.copy()
    pixels[3, 3] = value
    write_dicom(tmp_path / "a.dcm", pixels, BitsStored=12, HighBit=11, PhotometricInterpretation=kind)
    assert f"holds {value}, but its header speaks of 12 bits" in refused(tmp_path)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("meta", [True, False])
def test_a_file_without_preamble_is_read(tmp_path: Path, syntax: UID, meta: bool) -> None:
    write_dicom(tmp_path / "a.dcm", RAMP)
    dataset = dcmread(tmp_path / "a.dcm")
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=syntax.is_implicit_VR, little_endian=True)
    whole = (tmp_path / "a.dcm").read_bytes()
    start = 132 if meta else whole.index(b"\x08\x00\x16\x00")
    (tmp_path / "a.dcm").write_bytes(whole[start:])
    np.testing.assert_array_equal(read_image(tmp_path, "a.dcm").pixels, RAMP)
    assert image_size(tmp_path, "a.dcm") == (40, 60)
