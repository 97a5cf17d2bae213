"""Pictures stay readable, and within their room."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from lesionlens.reporting.thumbnails import pictures, webp


def opened(text):
    with Image.open(io.BytesIO(base64.b64decode(text.split(",")[1]))) as image:
        return np.asarray(image.convert("L"), dtype=float)


def test_image_stays_readable():
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    text = webp(ramp)
    assert opened(text).shape == (64, 64)
    assert np.abs(opened(text) - ramp).mean() < 4


@pytest.fixture
def noise():
    """The worst a lossy format can meet."""
    return list(np.random.default_rng(0).integers(0, 256, (6, 224, 224)).astype(np.uint8))


def test_with_room_nothing_is_lost(noise):
    found, reduced = pictures(noise, 10_000_000)
    assert not reduced and found == [webp(patch) for patch in noise]


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_without_room_all_shrink_alike(noise, share):
    room = int(share * sum(len(webp(patch)) for patch in noise))
    found, reduced = pictures(noise, room)
    assert reduced and sum(map(len, found)) <= room
    assert len({opened(text).shape for text in found}) == 1


def test_no_patch_needs_no_room():
    assert pictures([], 0) == ([], False)
