"""Pictures stay readable and within their room; the contact sheet shows whole images and patches."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from lesionlens.reporting.thumbnails import contact_sheet, outline, pictures, webp


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


def test_outline_encloses_the_mask():
    mask = np.zeros((40, 40), dtype=np.bool_)
    mask[10:20, 5:30] = True
    points = [tuple(map(float, point.split())) for point in outline(mask).strip("MZ").split("L")]
    assert {min(x for x, _ in points), max(x for x, _ in points)} == {5, 30}
    assert {min(y for _, y in points), max(y for _, y in points)} == {10, 20}


def test_outline_of_a_mask_that_fills_the_patch_is_its_border():
    assert outline(np.ones((8, 8), dtype=np.bool_)).count("L") >= 3


def test_empty_mask_has_no_outline():
    assert outline(np.zeros((8, 8), dtype=np.bool_)) == ""


def test_every_class_has_samples_with_window_and_outline(data):
    sheets = contact_sheet(data)
    names = data.frames["labels"].sort("ordinal")["name"].to_list()
    assert sorted(sheet["name"] for sheet in sheets) == sorted(names)
    for sheet in sheets:
        assert len(sheet["samples"]) == 2
        for sample in sheet["samples"]:
            assert sample["window"] == (100, 200, 192, 192)
            assert bool(sample["outline"]) == (sheet["name"] != "background")
            picture = Image.open(io.BytesIO(base64.b64decode(sample["whole"].split(",")[1])))
            assert picture.size == (213, 320)


def test_the_page_draws_them_in_the_image_with_a_text_for_each(data, rendered):
    section = re.search(r'<section id="contact-sheet".*?</section>', rendered.page, re.DOTALL).group()
    texts = re.findall(r'<img [^>]*alt="([^"]+)"', section)
    assert len(texts) == 2 * data.frames["contact_sheet"].height == section.count("<img ")
    assert sum("patient P00100, LEFT CC, background" in text for text in texts) == 1
    assert section.count('<rect class="window" x="100" y="200" width="192" height="192"/>') == len(texts) // 2
    assert 'transform="translate(100 200) scale(2.0 2.0)"' in section


def test_a_record_without_overviews_has_no_sheet(data, changed):
    assert contact_sheet(changed(data, contact_sheet=data.frames["contact_sheet"].clear())) == []
