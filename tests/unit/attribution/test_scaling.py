"""Raw grids to activation maps, and the decided edge cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlens.attribution.scaling import activation_maps


def grid(*values: float) -> np.ndarray:
    side = round(len(values) ** 0.5)
    return np.array(values, dtype=np.float32).reshape(1, side, side)


def test_the_negative_part_is_cut_before_upsampling_and_the_maximum_becomes_one() -> None:
    maps, blank = activation_maps(grid(-8, 0, 0, 4), (4, 4), "relu_max")
    assert not blank[0] and maps.max() == 1
    # Cut after upsampling, the -8 would pull its neighbours below zero; cut before, it is a zero among zeros.
    np.testing.assert_allclose(maps[0, 1], [0, 0.0625, 0.1875, 0.25], atol=1e-7)


def test_minmax_keeps_what_lies_below_zero() -> None:
    maps, blank = activation_maps(grid(-4, -3, -2, 0), (4, 4), "minmax")
    assert not blank[0]
    assert maps[0, 0, 0] == 0 and maps[0, 3, 3] == 1


def test_a_map_whose_minimum_is_above_zero_is_stretched_to_the_full_range() -> None:
    maps, _ = activation_maps(grid(2, 2, 2, 4), (2, 2), "relu_max")
    np.testing.assert_array_equal(maps[0], [[0, 0], [0, 1]])


@pytest.mark.parametrize(
    ("values", "scaling", "blank", "level"),
    [
        ((0, 0, 0, 0), "relu_max", True, 0),
        ((-1, -2, -3, -1), "relu_max", True, 0),
        ((0.3, 0.3, 0.3, 0.3), "relu_max", False, 1),
        ((0.3, 0.3, 0.3, 0.3), "minmax", True, 0),
        ((-2, -2, -2, -2), "minmax", True, 0),
        ((np.nan, 1, 2, 3), "relu_max", True, 0),
        ((1.4e-45, 1.4e-45, 1.4e-45, 1.4e-45), "minmax", True, 0),
        ((np.inf, 1, 2, 3), "minmax", True, 0),
    ],
)
def test_maps_without_a_range(values: tuple[float, ...], scaling: str, blank: bool, level: float) -> None:
    maps, flags = activation_maps(grid(*values), (7, 7), scaling)  # type: ignore[arg-type]
    assert flags.tolist() == [blank]
    np.testing.assert_array_equal(maps, np.full((1, 7, 7), level, dtype=np.float32))


def test_rounding_noise_of_a_constant_grid_is_not_blown_up_to_a_map() -> None:
    noisy = np.full((1, 3, 3), 0.1, dtype=np.float32)
    noisy[0, 1, 1] = np.nextafter(noisy[0, 1, 1], np.float32(1))
    maps, blank = activation_maps(noisy, (50, 50), "relu_max")
    assert not blank[0] and (maps == 1).all()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-100, 100, width=32), min_size=9, max_size=9),
    st.sampled_from(["relu_max", "minmax"]),
    st.integers(3, 20),
)
def test_every_map_lies_between_zero_and_one_and_reaches_one_unless_blank(
    values: list[float], scaling: str, size: int
) -> None:
    maps, blank = activation_maps(grid(*values), (size, size), scaling)  # type: ignore[arg-type]
    assert np.isfinite(maps).all() and maps.min() >= 0
    assert maps.max() == (0 if blank[0] else 1)
