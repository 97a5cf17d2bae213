"""Whole images and patches side by side."""

import base64
import dataclasses
import io
import re

import polars as pl
from PIL import Image

from lesionlens.reporting.page import render
from lesionlens.reporting.thumbnails import contact_sheet


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


def test_the_page_draws_them_in_the_image_with_a_text_for_each(data):
    page = render(data).page
    section = re.search(r'<section id="contact-sheet".*?</section>', page, re.DOTALL).group()
    texts = re.findall(r'<img [^>]*alt="([^"]+)"', section)
    assert len(texts) == 2 * data.frames["contact_sheet"].height == section.count("<img ")
    assert "Whole image of patient P00100, LEFT CC, background; the window is drawn on it" in texts
    assert section.count('<rect class="window" x="100" y="200" width="192" height="192"/>') == len(texts) // 2
    assert 'transform="translate(100 200) scale(2.0 2.0)"' in section


def test_a_record_without_overviews_has_no_sheet(data):
    empty = data.frames["contact_sheet"].clear()
    page = render(dataclasses.replace(data, frames=data.frames | {"contact_sheet": empty})).page
    assert "How patches were cut" not in page
    assert isinstance(empty, pl.DataFrame)
