"""Background windows."""

import numpy as np

from lesionlens.images.annotation import overlap
from lesionlens.images.image import Picture
from lesionlens.samples.windows import background_windows


def test_windows_hold_tissue_and_no_masked_pixel() -> None:
    pixels = np.zeros((400, 300), np.uint8)
    pixels[:, :150] = 120
    masked = np.zeros((400, 300), np.bool_)
    masked[150:200, 40:90] = True
    found = background_windows(Picture(pixels, 255, True), masked, [(60, 60)] * 12, 70 / 3, 6, np.random.default_rng(1))
    assert len(found) == 6
    for n, box in enumerate(found):
        inner = np.s_[box.y0 : box.y1, box.x0 : box.x1]
        assert pixels[inner].shape == (60, 60) and not masked[inner].any() and pixels[inner].mean() > 70 / 3
        assert all(overlap(box, other) <= 0.25 for other in found[:n])
    again = background_windows(Picture(pixels, 255, True), masked, [(60, 60)] * 12, 70 / 3, 6, np.random.default_rng(1))
    assert found == again


def test_a_dark_masked_or_small_image_gives_none() -> None:
    bright, clear = np.full((100, 100), 200, np.uint8), np.zeros((100, 100), np.bool_)
    rng = np.random.default_rng(2)
    assert background_windows(Picture(np.full_like(bright, 23), 255, True), clear, [(50, 50)], 70 / 3, 1, rng) == ()
    assert background_windows(Picture(bright, 255, True), ~clear, [(50, 50)], 70 / 3, 1, rng) == ()
    assert background_windows(Picture(bright, 255, True), clear, [(101, 50)], 70 / 3, 1, rng) == ()
    assert len(background_windows(Picture(bright, 255, True), clear, [(101, 50), (100, 100)], 70 / 3, 1, rng)) == 1
