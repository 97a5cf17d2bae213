"""Patches as the record keeps them: grey values row by row, masks as bits. Reading them costs no decoding."""

from math import isqrt

import numpy as np
from numpy.typing import NDArray


def pack_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Grey values uint8 [s, s] as s * s bytes, row by row."""
    return np.ascontiguousarray(pixels, dtype=np.uint8).tobytes()


def unpack_pixels(stored: bytes) -> NDArray[np.uint8]:
    """uint8 [s, s] from s * s bytes. ValueError where they are no square."""
    size = isqrt(len(stored))
    if not size or size * size != len(stored):
        raise ValueError(f"{len(stored)} bytes are no square patch")
    return np.frombuffer(stored, dtype=np.uint8).reshape(size, size)


def pack_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask bool [s, s] as bits, row by row, the first pixel in the highest bit; the last byte is filled with 0."""
    return np.packbits(mask).tobytes()


def unpack_mask(stored: bytes, size: int) -> NDArray[np.bool_]:
    """bool [size, size] from its bits. ValueError where their number does not fit."""
    if len(stored) != (size * size + 7) // 8:
        raise ValueError(f"{len(stored)} bytes are no mask of {size} x {size}")
    bits = np.unpackbits(np.frombuffer(stored, dtype=np.uint8), count=size * size)
    return bits.reshape(size, size).view(np.bool_)
