"""Patches as the record keeps them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesionlens.samples.normalise import pack_mask, pack_pixels, unpack_mask, unpack_pixels


@given(st.integers(1, 33), st.data())
def test_what_is_packed_comes_back(size: int, data: st.DataObject) -> None:
    pixels = data.draw(arrays(np.uint8, (size, size)))
    mask = data.draw(arrays(np.bool_, (size, size)))
    np.testing.assert_array_equal(unpack_pixels(pack_pixels(pixels)), pixels)
    np.testing.assert_array_equal(unpack_mask(pack_mask(mask), size), mask)


def test_a_view_is_packed_as_it_looks() -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4).T
    np.testing.assert_array_equal(unpack_pixels(pack_pixels(pixels)), pixels)


def test_the_wrong_length_is_named() -> None:
    with pytest.raises(ValueError, match="10 bytes are no square patch"):
        unpack_pixels(bytes(10))
    with pytest.raises(ValueError, match="2 bytes are no mask of 5 x 5"):
        unpack_mask(bytes(2), 5)
