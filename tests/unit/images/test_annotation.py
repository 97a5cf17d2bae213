"""Annotations: binary masks, their components."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lesionlens.images.annotation import (
    Annotation,
    components,
    draw_outline,
    find_annotation,
    fit_mask,
    marked_pixels,
    same_aspect,
)
from lesionlens.images.image import GreyImage, MaskFile, UnusableImageError, bounding_box
from lesionlens.records import Box, Outline


def grey(values: object, lossless: bool = True) -> MaskFile:
    """A file of grey values, which may be of 16 bits."""
    return MaskFile("m.png", np.asarray(values), None, None, lossless)


def marked(file: MaskFile, by: str = "auto", most: float = 1.0) -> NDArray[np.bool_]:
    """The marked pixels."""
    pixels, threshold = marked_pixels(file, by, most)
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
    file = grey(pixels)

    def fitted(height: int, width: int, turn: int = 1) -> tuple[NDArray[np.bool_], bool]:
        image = GreyImage(np.zeros((height, width), np.uint8), 255, True, turn)
        mask, threshold, resized = fit_mask(marked_pixels(file), file, image)
        return mask > threshold, resized

    mask, resized = fitted(300, 200)
    assert resized and mask.shape == (300, 200) and bounding_box(mask) == Box(40, 100, 120, 200)
    assert fitted(150, 100)[1] is False
    with pytest.raises(UnusableImageError, match="shape: mask 100 x 150, image 200 x 310"):
        fitted(310, 200)
    with pytest.raises(UnusableImageError, match=r"image 150 x 100 \(turned as its orientation 6 says\)"):
        fitted(100, 150, turn=6)


def test_one_percent_is_the_most_by_which_shapes_may_differ() -> None:
    assert same_aspect((1000, 1010), (1000, 1000)) and same_aspect((500, 505), (2000, 2000))
    assert not same_aspect((1000, 1011), (1000, 1000)) and not same_aspect((1011, 1000), (1000, 1000))


def test_a_jpeg_marks_strictly_above_127() -> None:
    file = grey(np.array([[0, 19, 127, 128, 236, 255, 0]], np.uint8), lossless=False)
    assert marked(file).tolist() == [[False, False, False, True, True, True, False]]
    assert not marked(grey(np.array([[0, 19]], np.uint8), lossless=False)).any()


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 65535), (0, 7), (10, 200), (1, 2)])
def test_of_two_values_the_higher_marks(values: tuple[int, int]) -> None:
    low, high = values
    assert marked(grey(np.array([[low, high, low]], np.uint16))).tolist() == [[False, True, False]]
    assert not marked(grey(np.zeros((1, 2), np.uint8))).any()


def disc(side: int, radius: float, soft: float = 0.0) -> NDArray[np.float64]:
    """1 in a disc in the middle, 0 outside, falling over `soft` pixels."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.clip((radius - np.hypot(x, y)) / soft + 0.5, 0, 1) if soft else (np.hypot(x, y) <= radius).astype(float)


@pytest.mark.parametrize("soft", [1.0, 2.5])
@pytest.mark.parametrize("top", [255, 100, 12])
def test_an_antialiased_edge_is_no_third_value(soft: float, top: int) -> None:
    mask = marked(grey(np.rint(disc(60, 12, soft) * top).astype(np.uint8)))
    assert abs(int(mask.sum()) - disc(60, 12).sum()) < 40


def test_noise_of_a_jpeg_saved_again_is_no_third_value() -> None:
    rng = np.random.default_rng(0)
    noisy = np.where(disc(60, 12) > 0, 255 - rng.integers(0, 20, (60, 60)), rng.integers(0, 20, (60, 60)))
    assert (marked(grey(noisy.astype(np.uint8))) == (disc(60, 12) > 0)).all()


def parts() -> NDArray[np.uint8]:
    """Three lesions with numbers of their own."""
    mask = np.zeros((60, 80), np.uint8)
    mask[5:25, 5:25], mask[30:36, 40:46], mask[50:52, 70:72] = 1, 2, 3
    return mask


def test_numbers_of_instances_or_classes_are_asked_about_and_read_as_told() -> None:
    for file in (grey(parts()), grey(parts() * np.uint16(900)), grey(np.minimum(parts(), 2) * np.uint8(127))):
        with pytest.raises(UnusableImageError, match=r"ambiguous: m\.png holds the values 0, .*mask_value"):
            marked(file)
        assert (marked(file, "nonzero") == (parts() > 0)).all()
    for number in (1, 2, 3):
        assert (marked(grey(parts()), str(number)) == (parts() == number)).all()
    assert (marked(grey(parts()), "zero") == (parts() == 0)).all()
    tiny = np.zeros((60, 80), np.uint8)
    tiny[5:25, 5:25], tiny[50, 70] = 2, 1  # a lesion of one pixel, numbered
    with pytest.raises(UnusableImageError, match="0, 1, 2, not two"):
        marked(grey(tiny))


def test_a_mask_that_marks_too_much_is_asked_about() -> None:
    lesion = disc(60, 12) > 0
    inverted = grey((~lesion).astype(np.uint8) * np.uint8(255))
    with pytest.raises(UnusableImageError, match=r"ambiguous: m\.png marks all corners"):
        marked(inverted)
    assert (marked(inverted, "zero") == lesion).all()
    with pytest.raises(UnusableImageError, match="all corners"):
        marked(grey(np.full((9, 9), 255, np.uint8)))
    wide = grey((disc(60, 28) > 0).astype(np.uint8))
    assert marked(wide).mean() > 0.6
    with pytest.raises(UnusableImageError, match=r"marks 69 % of the image.*annotation\.most"):
        marked(wide, most=0.6)
    assert marked(wide, most=0.7).any()


def test_transparency_marks_where_colour_says_nothing() -> None:
    lesion, white = disc(60, 12) > 0, np.full((60, 60), 255, np.uint8)
    alpha = lesion.astype(np.uint8) * np.uint8(255)
    for values in (white, np.zeros_like(white), alpha):  # white or black brush, or both say the same
        assert (marked(MaskFile("m.png", values, None, alpha, True)) == lesion).all()
    assert (marked(MaskFile("m.png", white, None, alpha, True), "alpha") == lesion).all()
    two = np.where(np.arange(60) < 30, 255, 90).astype(np.uint8) * np.ones((60, 1), np.uint8)
    with pytest.raises(UnusableImageError, match="transparency and several colours"):
        marked(MaskFile("m.png", two, None, alpha, True))
    assert (marked(MaskFile("m.png", alpha, None, white, True)) == lesion).all()  # opaque all over
    with pytest.raises(UnusableImageError, match="has no transparency"):
        marked(grey(alpha), "alpha")


def painted(*colours: tuple[int, int, int]) -> MaskFile:
    """The three lesions of `parts` in three colours on a fourth one."""
    colour = np.array(colours, np.uint8)[parts()]
    return MaskFile("m.png", colour.max(axis=2), colour, None, True)


def test_one_colour_on_black_marks_and_several_are_asked_about() -> None:
    black, red, green = (0, 0, 0), (255, 0, 0), (0, 255, 0)
    assert (marked(painted(black, red, red, red)) == (parts() > 0)).all()
    assert (marked(painted(black, (1, 0, 0), (1, 0, 0), (1, 0, 0))) == (parts() > 0)).all()  # an index in one channel
    for codes in ((black, red, green, green), ((255, 255, 255), red, red, red), (black, (1, 0, 0), (1, 1, 0), black)):
        with pytest.raises(UnusableImageError, match="has several colours"):
            marked(painted(*codes))
    assert (marked(painted(black, red, green, green), "#ff0000") == (parts() == 1)).all()
    assert (marked(painted(black, red, green, green), "nonzero") == (parts() > 0)).all()


def test_pictures_are_no_masks() -> None:
    """Noise, a smooth picture, a picture with much black: each holds more than two kinds of pixels."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (60, 60))
    smooth = np.add.outer(np.arange(60), np.arange(60)) * 2
    for picture in (noise, smooth, np.where(disc(60, 20) > 0, noise, 0), disc(60, 20, 30) * 255):
        for lossless in (True, False):
            with pytest.raises(UnusableImageError, match="ambiguous"):
                marked(grey(np.asarray(picture).astype(np.uint8), lossless))


def test_outlines_mark_the_pixels_whose_centres_they_hold() -> None:
    image = GreyImage(np.zeros((60, 80), np.uint8), 255, True)

    def drawn(*points: tuple[float, float], size: tuple[int, int] | None = None, most: float = 1.0) -> Box | None:
        return bounding_box(draw_outline(Outline((points,), size), image, most))

    square = ((10, 20), (30, 20), (30, 50), (10, 50))
    assert drawn(*square) == Box(10, 20, 30, 50)
    assert drawn(*((x / 2, y / 2) for x, y in square), size=(40, 30)) == Box(10, 20, 30, 50)
    assert drawn((10.4, 20.4), (30.6, 20.4), (30.6, 50.6), (10.4, 50.6)) == Box(10, 20, 31, 51)
    assert drawn((-0.5, -0.5), (80.5, -0.5), (80.5, 20)) == Box(3, 0, 80, 20)
    triangle = draw_outline(Outline((((10, 10), (50, 10), (10, 50)),)), image)
    assert triangle.sum() == pytest.approx(800, abs=45)
    with pytest.raises(UnusableImageError, match="shape: outline for 60 x 80 pixels, image 80 x 60"):
        drawn(*square, size=(60, 80))
    with pytest.raises(UnusableImageError, match="shape: outline of 10, 20 to 30, 66 leaves"):
        drawn((10, 20), (30, 20), (30, 66))
    with pytest.raises(UnusableImageError, match="marks 100 % of the image"):
        drawn((0, 0), (80, 0), (80, 60), (0, 60), most=0.6)
