"""Filling regions and finding a control of the same shape."""

import numpy as np
import pytest

from lesionlens.audits.occlusion import control_region, inpainted

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


def test_the_control_has_the_lesions_shape_and_keeps_off_it() -> None:
    for seed in range(20):
        mask = disc(48, 10 + seed, 30, 6)
        region = control_region(mask, FLAT, np.random.default_rng(seed))
        assert region is not None and region.sum() == mask.sum()
        rows, columns = np.nonzero(region)
        lesion_rows, lesion_columns = np.nonzero(mask)
        gaps = np.maximum(np.abs(rows[:, None] - lesion_rows), np.abs(columns[:, None] - lesion_columns))
        assert gaps.min() > 2


def test_a_lesion_too_large_for_its_patch_has_no_control() -> None:
    small = FLAT[:32, :32]
    assert control_region(disc(32, 16, 16, 12), small, np.random.default_rng(0)) is None
    assert control_region(np.ones((32, 32), dtype=np.bool_), small, np.random.default_rng(0)) is None


def test_the_control_lies_in_tissue_not_in_the_air_beside_it() -> None:
    mask, pixels = disc(48, 12, 30, 6), FLAT.copy()
    pixels[:, :20] = 0  # air
    pixels[mask] = 220
    shares = []
    for seed in range(40):
        region = control_region(mask, pixels, np.random.default_rng(seed))
        assert region is not None
        shares.append((pixels[region] > 0).mean())
    assert min(shares) > 0.25 and np.mean(shares) > 0.75
    around = np.where(disc(48, 12, 30, 7), pixels, 0).astype(np.uint8)  # tissue hugs the lesion; all else is air
    assert control_region(mask, around, np.random.default_rng(0)) is None


def test_where_all_is_black_the_control_lies_anywhere() -> None:
    assert control_region(disc(48, 12, 30, 6), FLAT * np.uint8(0), np.random.default_rng(0)) is not None


def test_the_same_generator_state_gives_the_same_control() -> None:
    mask = disc(48, 20, 20, 5)
    first, second = (control_region(mask, FLAT, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
