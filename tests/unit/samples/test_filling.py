"""Regions filled in: hulls, what fills them, and fair places for as much tissue."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from lesionlens.samples.filling import FAIR, control_regions, filled, grown_hulls, inpainted

FLAT = np.full((48, 48), 100, dtype=np.uint8)


def disc(size: int, row: int, column: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


@pytest.mark.parametrize("size", [32, 33, 47])
def test_a_bright_lesion_on_a_ramp_becomes_the_ramp(size: int) -> None:
    ramp = np.broadcast_to(np.linspace(40, 160, size), (size, size)).round().astype(np.uint8)
    region = disc(size, size // 2, size // 2, 7)
    bright = np.where(region, 255, ramp).astype(np.uint8)
    filled = inpainted(bright[None], region[None])[0]
    np.testing.assert_array_equal(filled[~region], ramp[~region])
    assert np.abs(filled[region].astype(int) - ramp[region]).mean() < 8
    assert filled.max() <= 165


def test_what_lies_under_the_region_does_not_show_through() -> None:
    generator = np.random.default_rng(0)
    one, region = generator.integers(0, 256, (1, 40, 40)).astype(np.uint8), disc(40, 12, 20, 9)[None]
    other = np.where(region, 255 - one, one)
    np.testing.assert_array_equal(inpainted(one, region), inpainted(other, region))


def test_no_region_changes_nothing_and_a_whole_one_becomes_grey() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16)).astype(np.uint8)
    np.testing.assert_array_equal(inpainted(pixels, np.zeros((1, 16, 16), dtype=np.bool_)), pixels)
    assert set(inpainted(pixels, np.ones((1, 16, 16), dtype=np.bool_)).ravel()) == {128}


def centre(region: np.ndarray) -> float:
    """Distance of a region's centre of mass to that of its sample, in pixels."""
    return float(np.hypot(*(np.argwhere(region).mean(axis=0) - (len(region) - 1) / 2)))


def test_the_hull_takes_in_spicules_and_their_rim() -> None:
    star = disc(48, 24, 24, 5)
    star[24, 8:41] = star[8:41, 24] = True  # two long lines through it
    (hull,) = grown_hulls(star[None], 0.1)
    assert hull[star].all() and hull[17, 17], "the corner between two spicules"
    assert (distance_transform_edt(~hull)[~hull].min() >= 1) and hull[24, 5] and not hull[24, 3]  # a tenth of 33 pixels
    (small,) = grown_hulls(disc(48, 24, 24, 2)[None], 0.1)
    assert small[24, 20] and not small[24, 19], "at least two pixels"


def test_two_outlines_of_one_hull_are_filled_alike() -> None:
    """What is filled must not tell the class by its outline: a spiculated mass and a smooth one of the same hull."""
    smooth, jagged = disc(48, 24, 24, 10), disc(48, 24, 24, 10)
    jagged[22:27, 24:29] = False  # an indentation
    np.testing.assert_array_equal(*grown_hulls(np.stack([smooth, jagged]), 0.1))


def along(picture: np.ndarray, region: np.ndarray) -> float:
    """Correlation of a pixel with the next one of its row, inside the region."""
    both = region[:, :-1] & region[:, 1:]
    return float(np.corrcoef(picture[:, :-1][both], picture[:, 1:][both])[0, 1])


@pytest.mark.parametrize("width", [0.0, 1.0])
def test_texture_continues_the_tissue_around_with_its_deviation_and_correlation(width: float) -> None:
    generator = np.random.default_rng(0)
    noise = gaussian_filter(generator.normal(size=(64, 64)), width)
    ramp = np.linspace(60, 140, 64)
    pixels = (ramp + 12 * noise / noise.std()).round().clip(0, 255).astype(np.uint8)[None]
    tissue, region = pixels[0].copy(), disc(64, 30, 34, 14)[None]
    pixels[region] = 250
    found = filled(pixels, region, "texture", generator)
    np.testing.assert_array_equal(found[~region], pixels[~region])
    inside, smooth = region[0], filled(pixels, region, "smooth", generator)[0]
    rest, textured, flat = (picture - gaussian_filter(picture.astype(float), 5) for picture in (tissue, *found, smooth))
    assert textured[inside].std() == pytest.approx(rest[inside].std(), rel=0.25)
    assert along(textured, inside) == pytest.approx(along(rest, inside), abs=0.1)
    assert found[0][inside].mean() == pytest.approx(smooth[inside].mean(), abs=3)
    assert flat[inside].std() < 0.6 * textured[inside].std()


def test_texture_of_a_whole_sample_or_of_flat_tissue_is_none() -> None:
    whole, generator = np.ones((1, 16, 16), dtype=np.bool_), np.random.default_rng(0)
    assert set(filled(FLAT[None, :16, :16], whole, "texture", generator).ravel()) == {128}
    np.testing.assert_array_equal(filled(FLAT[None], disc(48, 20, 20, 6)[None], "texture", generator), FLAT[None])


def test_controls_have_the_regions_shape_keep_off_it_and_lie_as_far_from_the_centre() -> None:
    for seed in range(10):
        region = disc(64, 14 + seed, 40, 6)
        places = control_regions(region, np.full((64, 64), 100, np.uint8), 16, np.random.default_rng(seed))
        assert len(places) == 16 and len(np.unique(places.reshape(16, -1), axis=0)) == 16
        assert {int(place.sum()) for place in places} == {int(region.sum())}
        assert not (places & region).any()
        assert max(abs(centre(place) - centre(region)) for place in places) <= FAIR * 64 + 1e-9


def test_a_region_too_large_or_in_the_middle_has_no_fair_place() -> None:
    for region in (disc(32, 16, 16, 12), np.ones((32, 32), dtype=np.bool_), disc(32, 16, 16, 5)):
        assert len(control_regions(region, FLAT[:32, :32], 16, np.random.default_rng(0))) == 0


def test_controls_lie_in_tissue_not_in_the_air_beside_it() -> None:
    region, pixels = disc(48, 12, 30, 6), FLAT.copy()
    pixels[:, :20] = 0  # air
    pixels[region] = 220
    places = control_regions(region, pixels, 16, np.random.default_rng(0))
    assert len(places) and min((pixels[place] > 0).mean() for place in places) > 0.25


def test_where_all_is_black_controls_lie_anywhere() -> None:
    assert len(control_regions(disc(48, 12, 30, 6), FLAT * np.uint8(0), 4, np.random.default_rng(0))) == 4


def test_the_same_generator_state_gives_the_same_controls() -> None:
    first, second = (control_regions(disc(48, 12, 20, 5), FLAT, 5, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
