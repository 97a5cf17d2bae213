"""Annotations: binary masks, their components."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionlens.images.annotation import Annotation, components, find_annotation, fit_mask, same_aspect
from lesionlens.images.image import GreyImage, UnusableImageError, bounding_box
from lesionlens.records import Box


def marked(mask: GreyImage, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The marked pixels."""
    pixels, threshold, _ = fit_mask(mask, shape)
    return pixels > threshold


def test_specks_are_ignored_and_large_parts_are_not() -> None:
    mask = np.zeros((200, 200), np.bool_)
    mask[50:90, 50:90] = True
    mask[150:153, 150:153] = True  # 9 of 1600 pixels: below one in a hundred
    found = find_annotation(mask)
    assert found is not None and found.box == Box(50, 50, 90, 90) and found.mask.all()
    mask[150:154, 150:154] = True  # 16 of 1600
    found = find_annotation(mask)
    assert found is not None and found.box == Box(50, 50, 154, 154) and found.mask.sum() == 1616
    assert find_annotation(np.zeros((20, 20), np.bool_)) is None


def test_a_component_whose_box_overlaps_a_larger_one_is_suppressed() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[10:50, 10:12] = mask[48:50, 10:50] = True  # an L whose box is 40 x 40
    mask[10:44, 16:50] = True  # apart from it, inside its box: 34 x 34
    mask[70:90, 70:90] = True
    box = bounding_box(mask)
    assert box is not None
    kept = components(Annotation(box, mask[box.y0 : box.y1, box.x0 : box.x1]))
    assert [component.box for component in kept] == [Box(10, 10, 50, 50), Box(70, 70, 90, 90)]


def test_a_mask_of_another_size_is_resized_only_where_its_shape_agrees() -> None:
    pixels = np.zeros((150, 100), np.uint8)
    pixels[50:100, 20:60] = 255
    small = GreyImage(pixels, 255, lossless=True)
    mask, threshold, resized = fit_mask(small, (300, 200))
    assert resized and mask.shape == (300, 200) and bounding_box(mask, threshold) == Box(40, 100, 120, 200)
    assert fit_mask(small, (150, 100))[2] is False
    with pytest.raises(UnusableImageError, match="shape: mask 100 x 150, image 200 x 310"):
        fit_mask(small, (310, 200))


def test_one_percent_is_the_most_by_which_shapes_may_differ() -> None:
    assert same_aspect((1000, 1010), (1000, 1000)) and same_aspect((500, 505), (2000, 2000))
    assert not same_aspect((1000, 1011), (1000, 1000)) and not same_aspect((1011, 1000), (1000, 1000))


def test_a_jpeg_marks_strictly_above_127() -> None:
    grey = np.array([[0, 19, 127, 128, 236, 255]], np.uint8)
    assert marked(GreyImage(grey, 255, lossless=False), (1, 6)).tolist() == [[False, False, False, True, True, True]]


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 65535), (0, 7)])
def test_a_lossless_mask_may_mark_by_any_value(values: tuple[int, int]) -> None:
    mask = GreyImage(np.array([values[::-1]], np.uint16), 65535, lossless=True)
    assert marked(mask, (1, 2)).tolist() == [[True, False]]
    empty = GreyImage(np.zeros((1, 2), np.uint8), 255, lossless=True)
    assert not marked(empty, (1, 2)).any()
    noise = GreyImage(np.array([[0, 19]], np.uint8), 255, lossless=False)
    assert not marked(noise, (1, 2)).any()
