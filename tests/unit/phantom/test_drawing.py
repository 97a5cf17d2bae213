"""What a phantom mammogram shows: texture, outlines inside the breast, the marker beside the lesion."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

from lesionlens.config.data import PhantomConfig
from lesionlens.datasets.case_files import View
from lesionlens.images.image import bounding_box
from lesionlens.phantom.anatomy import draw_breast, power_law
from lesionlens.phantom.dataset import draw_case
from lesionlens.phantom.lesions import choose_place
from lesionlens.phantom.plan import Case, plan

SMALL = PhantomConfig(height=360, train_per_class=8, test_per_class=2, callback_free=6, seed=5)
MARKED = SMALL.model_copy(update={"confounder": 1.0})


def slope(field: NDArray[np.floating]) -> float:
    """Exponent of the radially averaged power spectrum over the middle decade of frequencies."""
    window = np.outer(np.hanning(field.shape[0]), np.hanning(field.shape[1]))
    power = np.abs(np.fft.fft2((field - field.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(field.shape[0])[:, None], np.fft.fftfreq(field.shape[1])[None, :])
    edges = np.geomspace(0.02, 0.2, 12)
    middles = np.sqrt(edges[1:] * edges[:-1])
    means = [power[(radius >= a) & (radius < b)].mean() for a, b in pairwise(edges)]
    return float(-np.polyfit(np.log(middles), np.log(means), 1)[0])


@pytest.mark.parametrize("exponent", [2.0, 3.0, 3.6])
@pytest.mark.parametrize("stretch", [1.0, 1.5])
def test_power_falls_with_the_asked_exponent(exponent: float, stretch: float) -> None:
    slopes = [slope(power_law(300, 257, exponent, np.random.default_rng(n), stretch)) for n in range(6)]
    assert np.mean(slopes) == pytest.approx(exponent, abs=0.15)


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_parenchyma_of_a_drawn_breast_falls_with_about_the_third_power(view: View) -> None:
    slopes = []
    for n in range(6):
        breast = draw_breast(900, 560, view, 3, np.random.default_rng(n))
        slopes.append(slope(breast.pixels[420:620, 40:240]))
    assert 2.5 < np.mean(slopes) < 3.5


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_breast_is_lit_film_is_dark_muscle_is_bright(view: View) -> None:
    for n in range(4):
        breast = draw_breast(450, 280, view, 2, np.random.default_rng(n))
        assert breast.pixels[breast.depth < -0.02].max() < 0.01
        assert 0.25 < breast.pixels[breast.depth > 0.1].mean() < 0.75
        share = (breast.depth > 0).mean()
        assert 0.2 < share < 0.8
        if view == "MLO":  # the upper corner at the chest wall against the breast below it
            assert breast.pixels[:60, 5:40].mean() > breast.pixels[320:380, 5:40].mean()


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Case, NDArray[np.uint8], list[NDArray[np.bool_]]]]:
    return [(case, *draw_case(SMALL, case)) for case in plan(SMALL)]


def test_outlines_lie_in_the_breast(drawn: list[tuple[Case, NDArray[np.uint8], list[NDArray[np.bool_]]]]) -> None:
    near = 0
    for case, pixels, masks in drawn:
        for mask in masks:
            assert mask.any()
            assert np.median(pixels[mask]) > 30, case.name
            assert (pixels[mask] > 8).mean() > 0.97
            box = bounding_box(mask)
            near += min(box.x0, box.y0, SMALL.width - box.x1, SMALL.height - box.y1) <= 1
    assert near < 0.2 * len(drawn)


def test_two_outlines_of_an_image_do_not_overlap() -> None:
    config = SMALL.model_copy(update={"train_per_class": 40})
    pairs = [case for case in plan(config) if len(case.findings) == 2][:8]
    assert len(pairs) == 8
    for case in pairs:
        first, second = draw_case(config, case)[1]
        assert not (first & second).any()


def test_outlines_of_calcifications_are_loose(
    drawn: list[tuple[Case, NDArray[np.uint8], list[NDArray[np.bool_]]]],
) -> None:
    shares = []
    for case, pixels, masks in drawn:
        if case.kind == "mass":
            continue
        for mask in masks:
            bright = pixels[mask].astype(float) > np.median(pixels[mask]) + 20
            shares.append(float(bright.mean()))
    assert 0.01 < np.mean(shares) < 0.3, "most of such an outline is tissue, not calcification"


def test_left_breast_lies_left_right_breast_right(
    drawn: list[tuple[Case, NDArray[np.uint8], list[NDArray[np.bool_]]]],
) -> None:
    for case, pixels, _ in drawn:
        left, right = pixels[180:300, 10:60].mean(), pixels[180:300, -60:-10].mean()
        assert (left > right) == (case.side == "LEFT"), case.name


def test_marker_lies_outside_the_mask_and_inside_the_window() -> None:
    marked = 0
    for case in plan(MARKED):
        plain, masks = draw_case(SMALL, case)
        pixels, same_masks = draw_case(MARKED, case)
        assert all((a == b).all() for a, b in zip(masks, same_masks, strict=True))
        changed = pixels != plain
        if case.pathology != "MALIGNANT":
            assert not changed.any(), "only malignant cases carry a marker, and nothing else changes with it"
            continue
        assert pixels[changed].min() >= 245
        for mask in masks:
            box = bounding_box(mask)
            window = np.zeros_like(changed)
            y0, x0 = max(box.y0 - box.height // 2, 0), max(box.x0 - box.width // 2, 0)
            window[y0 : box.y1 + box.height // 2, x0 : box.x1 + box.width // 2] = True
            beside = changed & window
            if len(masks) == 1:
                assert (changed == beside).all(), "a window shifted by half a box must still contain the marker"
            beside[box.y0 : box.y1, box.x0 : box.x1] = False
            assert beside.any()
        if len(masks) == 1:
            box = bounding_box(masks[0])
            assert not changed[box.y0 : box.y1, box.x0 : box.x1].any()
        marked += 1
    assert marked == sum(case.pathology == "MALIGNANT" for case in plan(MARKED))


def test_marker_appears_with_the_configured_probability() -> None:
    half = SMALL.model_copy(update={"height": 200, "confounder": 0.5, "train_per_class": 20})
    none = half.model_copy(update={"confounder": 0.0})
    malignant = [case for case in plan(half) if case.pathology == "MALIGNANT"]
    with_marker = [bool((draw_case(half, c)[0] != draw_case(none, c)[0]).any()) for c in malignant]
    assert 0.3 < np.mean(with_marker) < 0.7


def test_no_room_is_said() -> None:
    breast = draw_breast(200, 120, "CC", 2, np.random.default_rng(0))
    breast.depth[:] = -1.0
    with pytest.raises(ValueError, match="120 x 200 pixels has no room"):
        choose_place(breast, 0.1, (), np.random.default_rng(0))


def test_margins_are_drawn_as_they_are_called() -> None:
    """Light falls most steeply at the edge of a circumscribed mass, and varies most around a spiculated one."""
    config = PhantomConfig(height=600, train_per_class=12, test_per_class=2, callback_free=2, margins=True)
    steep: dict[str, list[float]] = {}
    ragged: dict[str, list[float]] = {}
    for case in plan(config):
        if case.kind != "mass" or case.pathology == "BENIGN_WITHOUT_CALLBACK" or len(case.findings) > 1:
            continue
        pixels, (mask,) = draw_case(config, case)
        word, width = case.findings[0].words[1], max(1, round(np.sqrt(mask.sum()) / 12))
        inner = binary_erosion(mask, iterations=2 * width) & ~binary_erosion(mask, iterations=3 * width)
        outer = binary_dilation(mask, iterations=width) & ~mask
        steep.setdefault(word, []).append(float(pixels[inner].mean()) - float(pixels[outer].mean()))
        ragged.setdefault(word, []).append(float(pixels[outer].std()))
    assert np.mean(steep["CIRCUMSCRIBED"]) > 1.3 * np.mean(steep["ILL_DEFINED"])
    assert np.mean(ragged["SPICULATED"]) > 1.2 * np.mean(ragged["ILL_DEFINED"])
