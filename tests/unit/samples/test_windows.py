"""Windows around lesions and in tissue without one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lesionlens.images.annotation import Annotation
from lesionlens.images.image import GreyImage, bounding_box, box_iou
from lesionlens.records import Box
from lesionlens.samples.windows import (
    background_windows,
    cut_mask,
    film_window,
    lesion_window,
    median_position,
    windows_of_lesion,
)

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


def annotation_of(mask: NDArray[np.bool_]) -> Annotation:
    box = bounding_box(mask)
    assert box is not None
    return Annotation(box, mask[box.y0 : box.y1, box.x0 : box.x1])


@settings(max_examples=50, deadline=None)
@given(masks(), st.floats(1, 10), st.floats(0, 1), st.floats(0, 0.999), st.floats(0, 0.999))
def test_a_window_lies_in_the_image_and_holds_the_lesion(
    mask: NDArray[np.bool_], context: float, jitter: float, x: float, y: float
) -> None:
    lesion = annotation_of(mask)
    window = lesion_window(lesion, mask.shape, context, jitter, (x, y))
    assert 0 <= window.x0 <= lesion.box.x0 and lesion.box.x1 <= window.x1 <= WIDTH
    assert 0 <= window.y0 <= lesion.box.y0 and lesion.box.y1 <= window.y1 <= HEIGHT
    assert window.width <= context * lesion.box.width + 0.5
    cut_out, fraction = cut_mask(lesion, window, 32)
    assert fraction == pytest.approx(mask.sum() / (window.width * window.height))
    assert cut_out.shape == (32, 32)


@settings(max_examples=50, deadline=None)
@given(masks())
def test_median_and_box_agree_with_plain_numpy(mask: NDArray[np.bool_]) -> None:
    y, x = np.nonzero(mask)
    assert median_position(annotation_of(mask)) == (np.median(x) + 0.5, np.median(y) + 0.5)
    assert annotation_of(mask).box == Box(x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_the_studys_window_is_three_boxes_wide_around_the_median() -> None:
    mask = np.zeros((300, 200), np.bool_)
    mask[100:130, 80:100] = True
    assert lesion_window(annotation_of(mask), mask.shape, 3.0) == Box(60, 70, 120, 160)
    mask[100:110, 80:100] = False
    mask[100, 80] = True  # box as before, median further down
    assert lesion_window(annotation_of(mask), mask.shape, 3.0) == Box(60, 75, 120, 165)


def test_a_window_at_the_border_is_clipped() -> None:
    mask = np.zeros((300, 200), np.bool_)
    mask[0:30, 180:200] = True
    window = lesion_window(annotation_of(mask), mask.shape, 3.0)
    assert window == Box(160, 0, 200, 60)
    assert cut_mask(annotation_of(mask), window, 40)[1] == 0.25


def test_full_jitter_reaches_every_side_and_none_stays_centred() -> None:
    mask = np.zeros((300, 300), np.bool_)
    mask[140:160, 140:160] = True
    lesion = annotation_of(mask)
    assert lesion_window(lesion, mask.shape, 3.0, 1.0, (0.0, 0.0)) == Box(100, 100, 160, 160)
    assert lesion_window(lesion, mask.shape, 3.0, 1.0, (0.9999, 0.9999)) == Box(140, 140, 200, 200)
    assert lesion_window(lesion, mask.shape, 3.0, 0.5, (0.0, 0.9999)) == Box(110, 130, 170, 190)
    assert lesion_window(lesion, mask.shape, 3.0, 0.0, (0.0, 0.9)) == Box(120, 120, 180, 180)


def test_windows_hold_tissue_and_no_masked_pixel() -> None:
    pixels = np.zeros((400, 300), np.uint8)
    pixels[:, :150] = 120
    masked = np.zeros((400, 300), np.bool_)
    masked[150:200, 40:90] = True
    image, sizes = GreyImage(pixels, 255, True), [(60, 60)] * 12
    found = background_windows(image, masked, sizes, 70 / 3, 6, np.random.default_rng(1))
    assert len(found) == 6
    for n, box in enumerate(found):
        inner = np.s_[box.y0 : box.y1, box.x0 : box.x1]
        assert pixels[inner].shape == (60, 60) and not masked[inner].any() and pixels[inner].mean() > 70 / 3
        assert all(box_iou(box, other) <= 0.25 for other in found[:n])
    assert found == background_windows(image, masked, sizes, 70 / 3, 6, np.random.default_rng(1))


def test_a_dark_masked_or_small_image_gives_none() -> None:
    bright, clear = np.full((100, 100), 200, np.uint8), np.zeros((100, 100), np.bool_)
    rng = np.random.default_rng(2)
    assert background_windows(GreyImage(np.full_like(bright, 23), 255, True), clear, [(50, 50)], 70 / 3, 1, rng) == ()
    assert background_windows(GreyImage(bright, 255, True), ~clear, [(50, 50)], 70 / 3, 1, rng) == ()
    assert background_windows(GreyImage(bright, 255, True), clear, [(101, 50)], 70 / 3, 1, rng) == ()
    assert len(background_windows(GreyImage(bright, 255, True), clear, [(101, 50), (100, 100)], 70 / 3, 1, rng)) == 1


@settings(max_examples=50, deadline=None)
@given(masks(), st.floats(1, 6), st.floats(0, 1), st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)))
def test_a_square_window_holds_the_lesion_and_stays_in_the_image(
    mask: NDArray[np.bool_], context: float, jitter: float, draw: tuple[float, float]
) -> None:
    lesion = annotation_of(mask)
    window = lesion_window(lesion, mask.shape, context, jitter, draw, square=True)
    box, (height, width) = lesion.box, mask.shape
    assert 0 <= window.x0 <= box.x0 and box.x1 <= window.x1 <= width
    assert 0 <= window.y0 <= box.y0 and box.y1 <= window.y1 <= height
    side = max(int(context * max(box.width, box.height) + 0.5), box.width, box.height)
    assert (window.width, window.height) == (min(side, width), min(side, height))
    cut_out, fraction = cut_mask(lesion, window, 32, square=True)
    assert fraction == pytest.approx(mask.sum() / max(window.width, window.height) ** 2)
    assert cut_out.shape == (32, 32)


def test_a_square_window_keeps_the_shape_of_what_it_shows() -> None:
    """A flat lesion stays flat: by its mask, and by its pixels, also where the image is too small for the window."""
    for shape in ((300, 300), (50, 300)):
        mask = np.zeros(shape, np.bool_)
        mask[20:30, 100:140] = True
        lesion = annotation_of(mask)
        image = GreyImage(mask.astype(np.uint8) * np.uint8(255), 255, True)
        window = lesion_window(lesion, shape, 3.0, square=True)
        assert (window.width, window.height) == (120, min(120, shape[0]))
        patch, (cut_out, _) = image.patch(window, 120, 120, square=True), cut_mask(lesion, window, 120, square=True)
        for found in (patch > 127, cut_out):
            box = bounding_box(found)
            assert box is not None and (box.width, box.height) == (40, 10) and found.sum() == 400
    stretched = lesion_window(lesion, (50, 300), 3.0)
    box = bounding_box(image.patch(stretched, 120, 120), 127)
    assert box is not None and box.width / box.height < 2  # so it was 4 times as wide as high, and is not


def test_a_square_window_at_the_border_is_moved_and_not_clipped() -> None:
    mask = np.zeros((300, 200), np.bool_)
    mask[0:30, 180:200] = True
    assert lesion_window(annotation_of(mask), mask.shape, 3.0, square=True) == Box(110, 0, 200, 90)


def test_a_window_of_a_film_has_the_films_scale() -> None:
    assert film_window((4608, 3136), 224, (1152, 896), pad=False) == (784, 896)
    assert film_window((4608, 3136), 224, (1152, 896), pad=True) == (896, 896)
    assert film_window((300, 200), 224, (150, 100), pad=False) == (200, 300)


@pytest.mark.parametrize(("x", "y"), [(60, 80), (0, 0), (170, 270)])
def test_every_copy_holds_nine_tenths_of_the_lesion(x: int, y: int) -> None:
    lesion = Annotation(Box(x, y, x + 30, y + 25), np.ones((25, 30), dtype=np.bool_))
    found = windows_of_lesion(lesion, (300, 200), (60, 50), 10, np.random.default_rng(0))
    assert len(set(found)) == len(found) and len(found) == (10 if (x, y) == (60, 80) else len(found)) and len(found) > 1
    for window in found:
        assert (window.width, window.height) == (60, 50)
        assert window.x0 >= 0 and window.y0 >= 0 and window.x1 <= 200 and window.y1 <= 300
        across = min(window.x1, x + 30) - max(window.x0, x)
        down = min(window.y1, y + 25) - max(window.y0, y)
        assert across * down >= 0.9 * 30 * 25


def test_a_lesion_larger_than_the_window_fills_it() -> None:
    lesion = Annotation(Box(20, 20, 180, 280), np.ones((260, 160), dtype=np.bool_))
    found = windows_of_lesion(lesion, (300, 200), (60, 50), 4, np.random.default_rng(0))
    assert len(found) == 4
