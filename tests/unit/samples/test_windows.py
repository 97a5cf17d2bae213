"""Window geometry, masks, components."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lesionlens.images.annotation import (
    MaskShapeError,
    Roi,
    binarise,
    components,
    extent,
    find_roi,
    overlap,
    same_aspect,
)
from lesionlens.images.image import Picture
from lesionlens.records import Box
from lesionlens.samples.windows import cut_mask, lesion_window, median_position

HEIGHT, WIDTH = 120, 90


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.bool_]:
    """A few random pixels in a random box of a small image."""
    x0, y0 = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
    x1, y1 = draw(st.integers(x0 + 1, WIDTH)), draw(st.integers(y0 + 1, HEIGHT))
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask[y0:y1, x0:x1] = rng.random((y1 - y0, x1 - x0)) < draw(st.sampled_from((0.05, 0.5, 1.0)))
    mask[rng.integers(y0, y1), rng.integers(x0, x1)] = True
    return mask


def roi_of(mask: NDArray[np.bool_]) -> Roi:
    box = extent(mask)
    assert box is not None
    return Roi(box, mask[box.y0 : box.y1, box.x0 : box.x1])


@given(masks(), st.floats(1, 10), st.floats(0, 1), st.floats(0, 0.999), st.floats(0, 0.999))
def test_a_window_lies_in_the_image_and_holds_the_lesion(
    mask: NDArray[np.bool_], context: float, jitter: float, x: float, y: float
) -> None:
    roi = roi_of(mask)
    window = lesion_window(roi, mask.shape, context, jitter, (x, y))
    assert 0 <= window.x0 <= roi.box.x0 and roi.box.x1 <= window.x1 <= WIDTH
    assert 0 <= window.y0 <= roi.box.y0 and roi.box.y1 <= window.y1 <= HEIGHT
    assert window.width <= context * roi.box.width + 0.5
    cut_out, fraction = cut_mask(roi, window, 32)
    assert fraction == pytest.approx(mask.sum() / (window.width * window.height))
    assert cut_out.shape == (32, 32)


@given(masks())
def test_median_and_box_agree_with_plain_numpy(mask: NDArray[np.bool_]) -> None:
    y, x = np.nonzero(mask)
    assert median_position(roi_of(mask)) == (np.median(x) + 0.5, np.median(y) + 0.5)
    assert roi_of(mask).box == Box(x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_the_studys_window_is_three_boxes_wide_around_the_median() -> None:
    mask = np.zeros((300, 200), np.bool_)
    mask[100:130, 80:100] = True
    assert lesion_window(roi_of(mask), mask.shape, 3.0) == Box(60, 70, 120, 160)
    mask[100:110, 80:100] = False
    mask[100, 80] = True  # box as before, median further down
    assert lesion_window(roi_of(mask), mask.shape, 3.0) == Box(60, 75, 120, 165)


def test_a_window_at_the_border_is_clipped() -> None:
    mask = np.zeros((300, 200), np.bool_)
    mask[0:30, 180:200] = True
    window = lesion_window(roi_of(mask), mask.shape, 3.0)
    assert window == Box(160, 0, 200, 60)
    assert cut_mask(roi_of(mask), window, 40)[1] == 0.25


def test_full_jitter_reaches_every_side_and_none_stays_centred() -> None:
    mask = np.zeros((300, 300), np.bool_)
    mask[140:160, 140:160] = True
    roi = roi_of(mask)
    assert lesion_window(roi, mask.shape, 3.0, 1.0, (0.0, 0.0)) == Box(100, 100, 160, 160)
    assert lesion_window(roi, mask.shape, 3.0, 1.0, (0.9999, 0.9999)) == Box(140, 140, 200, 200)
    assert lesion_window(roi, mask.shape, 3.0, 0.5, (0.0, 0.9999)) == Box(110, 130, 170, 190)
    assert lesion_window(roi, mask.shape, 3.0, 0.0, (0.0, 0.9)) == Box(120, 120, 180, 180)


def test_specks_are_ignored_and_large_parts_are_not() -> None:
    mask = np.zeros((200, 200), np.bool_)
    mask[50:90, 50:90] = True
    mask[150:153, 150:153] = True  # 9 of 1600 pixels: below one in a hundred
    roi = find_roi(mask)
    assert roi is not None and roi.box == Box(50, 50, 90, 90) and roi.mask.all()
    mask[150:154, 150:154] = True  # 16 of 1600
    roi = find_roi(mask)
    assert roi is not None and roi.box == Box(50, 50, 154, 154) and roi.mask.sum() == 1616
    assert find_roi(np.zeros((20, 20), np.bool_)) is None


def test_a_component_whose_box_overlaps_a_larger_one_is_suppressed() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[10:50, 10:12] = mask[48:50, 10:50] = True  # an L whose box is 40 x 40
    mask[10:44, 16:50] = True  # apart from it, inside its box: 34 x 34
    mask[70:90, 70:90] = True
    kept = components(roi_of(mask))
    assert [part.box for part in kept] == [Box(10, 10, 50, 50), Box(70, 70, 90, 90)]
    assert overlap(Box(10, 10, 50, 50), Box(16, 10, 50, 44)) == pytest.approx(34 * 34 / 1600)
    assert overlap(Box(0, 0, 5, 5), Box(5, 0, 9, 5)) == 0


def test_a_mask_of_another_size_is_resized_only_where_its_shape_agrees() -> None:
    pixels = np.zeros((150, 100), np.uint8)
    pixels[50:100, 20:60] = 255
    small = Picture(pixels, 255, exact=True)
    mask, resized = binarise(small, (300, 200))
    assert resized and mask.shape == (300, 200) and extent(mask) == Box(40, 100, 120, 200)
    assert binarise(small, (150, 100))[1] is False
    with pytest.raises(MaskShapeError, match="mask 100 x 150, image 200 x 310"):
        binarise(small, (310, 200))


def test_one_percent_is_the_most_by_which_shapes_may_differ() -> None:
    assert same_aspect((1000, 1010), (1000, 1000)) and same_aspect((500, 505), (2000, 2000))
    assert not same_aspect((1000, 1011), (1000, 1000)) and not same_aspect((1011, 1000), (1000, 1000))


def test_binarising_is_strictly_above_127() -> None:
    grey = np.array([[0, 19, 127, 128, 236, 255]], np.uint8)
    assert binarise(Picture(grey, 255, exact=False), (1, 6))[0].tolist() == [[False, False, False, True, True, True]]


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 65535), (0, 7)])
def test_a_lossless_mask_may_mark_by_any_value(values: tuple[int, int]) -> None:
    mask = Picture(np.array([values[::-1]], np.uint16), 65535, exact=True)
    assert binarise(mask, (1, 2))[0].tolist() == [[True, False]]
    empty = Picture(np.zeros((1, 2), np.uint8), 255, exact=True)
    assert not binarise(empty, (1, 2))[0].any()
    noise = Picture(np.array([[0, 19]], np.uint8), 255, exact=False)
    assert not binarise(noise, (1, 2))[0].any()


def test_cutting_averages_when_it_shrinks() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    patch = Picture(board.astype(np.uint8), 255, exact=True).patch(Box(0, 0, 64, 64), 8, 8)
    assert patch.dtype == np.uint8 and patch.shape == (8, 8)
    assert np.abs(patch.astype(int) - 127).max() <= 4


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 4095), (np.uint16, 65535)])
def test_a_window_keeps_its_depth_until_the_one_mapping_to_8_bits(dtype: type, top: int) -> None:
    """A ramp of every grey value: at its own size, grey is round(255 value / top)."""
    ramp = np.arange(top + 1, dtype=dtype)[None].repeat(4, axis=0)
    box = Box(0, 0, top + 1, 4)
    grey = Picture(ramp, top, exact=True).patch(box, top + 1, 4)
    np.testing.assert_array_equal(grey[0], np.rint(np.arange(top + 1) * 255 / top).astype(np.uint8))
    assert Picture(ramp, top, exact=True).mean(box) == pytest.approx(127.5)


def test_deep_pixels_are_averaged_before_they_are_mapped() -> None:
    """Two values that map to the same grey, and whose average does not when they are far enough apart."""
    fine = np.array([[0, 257 * 3]] * 2, np.uint16).repeat(8, axis=0).repeat(8, axis=1)
    grey = Picture(fine, 65535, exact=True).patch(Box(0, 0, 16, 16), 1, 1)
    assert grey.item() == 2  # 1.5 of 255; mapped first, 0 and 3 would give the same, or 1 by truncation
