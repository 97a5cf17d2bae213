"""Decoding, and everything that must not be decoded."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import escaped, image_size, path_below, read_image, read_mask
from tests.unit.files import damaged, write_dicom, write_tiff


def refused(root: Path, relative: str) -> str:
    with pytest.raises(UnusableImageError) as error:
        read_image(root, relative)
    return error.value.reason


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    return tmp_path / "a.jpg"


def test_grey_and_colour_files_come_as_grey(jpeg: Path) -> None:
    picture = read_image(jpeg.parent, "a.jpg")
    pixels = picture.pixels
    assert (picture.white, picture.lossless, picture.shape) == (255, False, (80, 60))
    assert pixels.shape == (80, 60) and pixels.dtype == np.uint8 and image_size(jpeg.parent, "a.jpg") == (60, 80)
    Image.fromarray(pixels).convert("RGB").save(jpeg.parent / "b.png")
    np.testing.assert_array_equal(read_image(jpeg.parent, "b.png").pixels, pixels)


def test_spoilt_files_are_told_apart(jpeg: Path) -> None:
    root, whole = jpeg.parent, jpeg.read_bytes()
    (root / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "header.jpg").write_bytes(whole[:30])
    (root / "empty.jpg").write_bytes(b"")
    (root / "text.jpg").write_bytes(b"not a picture at all")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(root / "float.tif")
    pages = [Image.fromarray(np.full((4, 4), n, np.uint8)) for n in range(2)]
    pages[0].save(root / "pages.tif", save_all=True, append_images=pages[1:])
    for name in ("truncated.jpg", "header.jpg", "empty.jpg", "text.jpg", "float.tif", "pages.tif"):
        assert refused(root, name) == "unreadable", name
    assert refused(root, "nothing.jpg") == "missing"
    (root / "folder.jpg").mkdir()
    assert refused(root, "folder.jpg") == "missing"


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )
    assert refused(tmp_path, "bomb.png") == "too_large"


@pytest.mark.parametrize("path", ["../a.jpg", "/etc/passwd", "x/../../a.jpg", "", "x\\..\\a.jpg", "a\0.jpg"])
def test_paths_out_of_the_root_are_refused(jpeg: Path, path: str) -> None:
    root = jpeg.parent / "root"
    (root / "x").mkdir(parents=True)
    assert refused(root, path) == "refused"


def test_a_link_out_of_the_root_is_refused_and_one_inside_is_not(jpeg: Path) -> None:
    root = jpeg.parent / "root"
    root.mkdir()
    (root / "out.jpg").symlink_to(jpeg)
    assert refused(root, "out.jpg") == "refused"
    (root / "in.jpg").write_bytes(jpeg.read_bytes())
    (root / "link.jpg").symlink_to(root / "in.jpg")
    assert read_image(root, "link.jpg").shape == (80, 60)
    assert path_below(root, "link.jpg") == (root / "in.jpg").resolve()


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bit_files_keep_their_depth(tmp_path: Path, name: str) -> None:
    pixels = np.arange(80 * 60, dtype=np.uint16).reshape(80, 60) * 13
    Image.fromarray(pixels).save(tmp_path / name)
    picture = read_image(tmp_path, name)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.pixels.dtype, picture.white, picture.lossless) == (np.uint16, 65535, True)


def test_a_bilevel_mask_is_black_and_white(tmp_path: Path) -> None:
    mask = np.indices((9, 7)).sum(axis=0) % 2 > 0
    for name in ("mask.png", "mask.bmp"):
        Image.fromarray(mask).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path, name).pixels, mask * 255)


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_bitmap_is_read_as_a_png_of_the_same_pixels(tmp_path: Path, mode: str) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
    for name in ("a.png", "a.bmp"):
        Image.fromarray(drawn).convert(mode).save(tmp_path / name)
    png, bitmap = (read_mask(tmp_path, name) for name in ("a.png", "a.bmp"))
    np.testing.assert_array_equal(bitmap.values, png.values)
    assert bitmap.lossless
    if mode != "P":  # an index is no grey value: refused as an image, read as a mask
        np.testing.assert_array_equal(read_image(tmp_path, "a.bmp").pixels, read_image(tmp_path, "a.png").pixels)


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (16, 65535)])
def test_a_tiff_in_which_white_is_zero_is_turned_over(tmp_path: Path, bits: int, top: int) -> None:
    ramp = np.arange(48).reshape(6, 8).astype(np.uint8 if bits == 8 else np.uint16)
    for white_is_zero in (False, True):
        write_tiff(tmp_path / "a.tif", ramp, white_is_zero)
        picture = read_image(tmp_path, "a.tif")
        assert picture.white == top
        np.testing.assert_array_equal(picture.pixels, top - ramp if white_is_zero else ramp)


def marked_corner(dtype: type = np.uint8) -> NDArray[Any]:
    """60 rows of 80 pixels with one bright corner and a dim one, so that every turn and flip shows."""
    pixels = np.full((60, 80), 40, dtype)
    pixels[:10, :10], pixels[:10, 70:] = 200, 120
    return pixels


TURNS = {
    2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].T, 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "deep.png", "a.tif", "deep.tif", "zip.tif"])
def test_an_image_comes_as_it_is_shown(tmp_path: Path, name: str, turn: int) -> None:
    """Also as a mask. An uncompressed TIFF comes scrambled out of Pillow 13 where it is turned by a quarter."""
    pixels, exif = marked_corner(np.uint16 if name.startswith("deep") else np.uint8), Image.Exif()
    exif[0x112] = turn
    options = {"compression": "tiff_adobe_deflate"} if name == "zip.tif" else {}
    Image.fromarray(pixels).save(tmp_path / name, exif=exif, **options)
    picture, mask = read_image(tmp_path, name), read_mask(tmp_path, name)
    shown = TURNS[turn](pixels)
    assert picture.turn == mask.turn == turn and image_size(tmp_path, name) == shown.shape[::-1]
    for found in (picture.pixels, mask.values):
        np.testing.assert_allclose(found.astype(int), shown.astype(int), atol=40 if name == "a.jpg" else 0)


def test_a_damaged_orientation_turns_nothing(tmp_path: Path) -> None:
    for given in (0, 9, 300):
        exif = Image.Exif()
        exif[0x112] = given
        Image.fromarray(marked_corner()).save(tmp_path / "a.png", exif=exif)
        assert read_image(tmp_path, "a.png").turn == 1 and image_size(tmp_path, "a.png") == (80, 60)


def write_planes(path: Path, planes: NDArray[Any], photometric: int) -> None:
    """An uncompressed TIFF, one strip a plane."""
    count, height, width = planes.shape
    data = planes.astype(planes.dtype.newbyteorder("<")).tobytes()
    fields = {256: width, 257: height, 258: None, 259: 1, 262: photometric, 273: None, 277: count, 278: height}
    fields |= {279: None, 284: 2}
    start = 8 + 2 + 12 * len(fields) + 4
    bits, offsets, sizes = start, start + 2 * count, start + 6 * count
    table, size = b"", len(data) // count
    for tag, value in fields.items():
        where = {258: (3, bits), 273: (4, offsets), 279: (4, sizes)}.get(tag)
        kind, number, amount = (where[0], where[1], count) if where else (4, value, 1)
        table += struct.pack("<HHII", tag, kind, amount, number or 0)
    body = struct.pack(f"<{count}H", *[8 * planes.itemsize] * count)
    body += struct.pack(f"<{count}I", *(start + 10 * count + n * size for n in range(count)))
    body += struct.pack(f"<{count}I", *[size] * count)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(fields)) + table + bytes(4) + body + data)


def test_planes_of_a_tiff_are_read_or_refused(tmp_path: Path) -> None:
    """Pillow scrambles planes of 16 bits, and takes the first of several grey planes for the image."""
    planes = np.random.default_rng(0).integers(0, 256, (3, 24, 20), dtype=np.uint8)
    write_planes(tmp_path / "rgb.tif", planes, 2)
    Image.fromarray(np.moveaxis(planes, 0, 2)).save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(read_image(tmp_path, "rgb.tif").pixels, read_image(tmp_path, "rgb.png").pixels)
    for photometric in (1, 2):
        write_planes(tmp_path / "deep.tif", planes.astype(np.uint16) * 257, photometric)
        assert refused(tmp_path, "deep.tif") == "unreadable"


def test_values_below_zero_are_refused(tmp_path: Path) -> None:
    """Pillow takes signed values of 8 bits for unsigned ones, so that black would be grey and -1 white."""
    Image.fromarray(marked_corner()).save(tmp_path / "a.tif", tiffinfo={339: 1})
    assert read_image(tmp_path, "a.tif").pixels.max() == 200
    for signed in (2, (2, 2, 2)):
        picture = Image.fromarray(marked_corner())
        (picture if signed == 2 else picture.convert("RGB")).save(tmp_path / "a.tif", tiffinfo={339: signed})
        assert refused(tmp_path, "a.tif") == "unreadable"


def test_names_that_the_system_cannot_follow_cost_their_own_sample(jpeg: Path) -> None:
    (jpeg.parent / "circle.jpg").symlink_to(jpeg.parent / "circle.jpg")
    assert refused(jpeg.parent, "circle.jpg") == "unreadable"
    assert refused(jpeg.parent, "x" * 300 + ".jpg") == "unreadable"
    assert refused(jpeg.parent, "a.jpg/b.jpg") == "missing"
    assert refused(jpeg.parent, escaped("a\udcff.jpg")) == "refused"
    assert escaped("\u00a0ä.jpg") == "\u00a0ä.jpg"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a.png", "deep.png", "a.bmp", "a.jpg", "a.tif", "deep.tif", "lzw.tif", "a.dcm"])
def test_whatever_is_damaged_a_file_is_read_or_refused_in_words(tmp_path: Path, name: str) -> None:
    """No damage ends a study, and every detail can be stored: text without NUL, in UTF-8."""
    grey = np.random.default_rng(0).integers(0, 256, (24, 20), dtype=np.uint8)
    if name == "a.dcm":
        write_dicom(tmp_path / name, grey.astype(np.uint16) * 16, BitsStored=12, HighBit=11, PatientID="P_00001")
    else:
        deep = grey if name[0] == "a" else grey.astype(np.uint16) * 257
        Image.fromarray(deep).save(tmp_path / name, **({"compression": "tiff_lzw"} if name == "lzw.tif" else {}))
    outcomes = set()
    for data in damaged((tmp_path / name).read_bytes(), 400):
        (tmp_path / "x").write_bytes(data)
        try:
            picture = read_image(tmp_path, "x")
            assert len(picture.shape) == 2 and picture.pixels.max() <= picture.white
            outcomes.add("read")
        except UnusableImageError as error:
            assert "\0" not in error.detail and error.detail.encode()
            outcomes.add(error.reason)
    assert outcomes >= {"read", "unreadable"}
