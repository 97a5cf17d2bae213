"""Grey images: windows at full depth, one mapping to 8 bits, boxes."""

import io

import numpy as np
import pytest
from PIL import Image

from lesionlens.images.image import GreyImage, bounding_box, box_iou, encode_webp
from lesionlens.records import Box


def test_cutting_averages_when_it_shrinks() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    patch = GreyImage(board.astype(np.uint8), 255, lossless=True).patch(Box(0, 0, 64, 64), 8, 8)
    assert patch.dtype == np.uint8 and patch.shape == (8, 8)
    assert np.abs(patch.astype(int) - 127).max() <= 4


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 4095), (np.uint16, 65535)])
def test_a_window_keeps_its_depth_until_the_one_mapping_to_8_bits(dtype: type, top: int) -> None:
    """A ramp of every grey value: at its own size, grey is round(255 value / top)."""
    ramp = np.arange(top + 1, dtype=dtype)[None].repeat(4, axis=0)
    box = Box(0, 0, top + 1, 4)
    grey = GreyImage(ramp, top, lossless=True).patch(box, top + 1, 4)
    np.testing.assert_array_equal(grey[0], np.rint(np.arange(top + 1) * 255 / top).astype(np.uint8))
    assert GreyImage(ramp, top, lossless=True).mean(box) == pytest.approx(127.5)


def test_deep_pixels_are_averaged_before_they_are_mapped() -> None:
    """Two values that map to the same grey, and whose average does not when they are far enough apart."""
    fine = np.array([[0, 257 * 3]] * 2, np.uint16).repeat(8, axis=0).repeat(8, axis=1)
    grey = GreyImage(fine, 65535, lossless=True).patch(Box(0, 0, 16, 16), 1, 1)
    assert grey.item() == 2  # 1.5 of 255; mapped first, 0 and 3 would give the same, or 1 by truncation


def test_the_bounding_box_holds_all_pixels_above_the_threshold() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[3, 7] = mask[11, 4] = 128
    mask[0, 0] = 127
    assert bounding_box(mask, 127) == Box(4, 3, 8, 12)
    assert bounding_box(mask) == Box(0, 0, 8, 12)
    assert bounding_box(mask > 200) is None


def test_overlap_of_boxes() -> None:
    assert box_iou(Box(10, 10, 50, 50), Box(16, 10, 50, 44)) == pytest.approx(34 * 34 / 1600)
    assert box_iou(Box(0, 0, 4, 4), Box(2, 2, 6, 6)) == pytest.approx(4 / 28)
    assert box_iou(Box(0, 0, 5, 5), Box(5, 0, 9, 5)) == 0


def test_webp_is_close_to_the_image() -> None:
    ramp = np.arange(64, dtype=np.uint8)[None].repeat(48, axis=0) * np.uint8(4)
    with Image.open(io.BytesIO(encode_webp(ramp))) as image:
        assert (image.format, image.size) == ("WEBP", (64, 48))
        assert np.abs(np.asarray(image.convert("L")).astype(int) - ramp).mean() < 4
