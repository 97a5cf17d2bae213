"""Scales and ticks, over all inputs."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lesionlens.reporting.axes import Scale, path, spread, steps, ticks

reals = st.floats(-1e6, 1e6, allow_nan=False)


@given(reals, st.floats(1e-3, 1e6), st.integers(1, 12))
def test_steps_lie_inside_and_rise(low, span, wanted):
    found = steps(low, low + span, wanted)
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value in found)
    assert found == sorted(set(found))
    assert len(found) <= wanted + 1


def test_ticks_are_round():
    assert [tick.text for tick in ticks(Scale(-0.2, 0.6, 0, 100), 5)] == ["−0.2", "0", "0.2", "0.4", "0.6"]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_spread_keeps_order_and_distance(wanted):
    found = spread(wanted, 10, 0, 100)
    placed = [found[index] for index in sorted(range(len(wanted)), key=lambda index: wanted[index])]
    assert all(b - a >= 9.8 for a, b in itertools.pairwise(placed))


def test_path_is_svg():
    assert path([(0, 1), (2.5, 3)]) == "M0 1 L2.5 3"
