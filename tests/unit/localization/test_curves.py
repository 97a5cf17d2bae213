"""Histograms of map values against comparisons of single-precision numbers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesionlens.localization import curves

EDGES = np.concatenate([np.arange(1, 21) / 20, np.arange(1, 513) / 512]).astype(np.float32)
AT = np.round(EDGES.astype(np.float64) * curves.STEPS).astype(np.int64)


def test_every_edge_and_its_neighbours_fall_on_the_side_the_comparison_says() -> None:
    values = np.unique(np.concatenate([EDGES, np.nextafter(EDGES, np.float32(0)), [np.float32(0)]]))
    for value in values:
        counted = curves.counts(np.full((1, 1, 1), value, dtype=np.float32), np.ones((1, 1, 1), dtype=np.bool_))
        np.testing.assert_array_equal(curves.iou(counted, AT[None])[0], value >= EDGES, err_msg=repr(value))


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (2, 5, 5), elements=st.floats(0, 1, width=32)), arrays(np.bool_, (2, 5, 5)))
def test_iou_is_that_of_the_compared_maps(maps: np.ndarray, masks: np.ndarray) -> None:
    found = curves.iou(curves.counts(maps, masks), np.tile(AT, (2, 1)))
    for k, edge in enumerate(EDGES):
        region = maps >= edge
        inside, either = (region & masks).sum(axis=(1, 2)), (region | masks).sum(axis=(1, 2))
        expected = [a / b if mask.any() else np.nan for a, b, mask in zip(inside, either, masks, strict=True)]
        np.testing.assert_array_equal(found[:, k], expected)
