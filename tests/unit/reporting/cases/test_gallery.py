"""Every sample with its results, its images within their room, its maps as they were; examples of each quadrant."""

import base64
import dataclasses
import io
import json
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from lesionlens.attribution.scaling import activation_maps
from lesionlens.reporting.cases.gallery import (
    SHOWN,
    contact_sheet,
    examples,
    gallery,
    outline,
    pictures,
    quantised,
    webp,
)
from lesionlens.reporting.data import shown as models_of
from lesionlens.reporting.tables.evidence import QUADRANTS
from tests.report_data import rare

grids = arrays(np.float64, (4, 5), elements=st.floats(-10, 10, width=32))


@pytest.mark.parametrize("scaling", ["relu_max", "minmax"])
@given(grid=grids)
def test_quantised_grid_gives_the_same_map(scaling, grid):
    top = np.maximum(grid, 0).max() if scaling == "relu_max" else np.ptp(grid)
    low = np.maximum(grid, 0).min()
    if 0 < top < 1e-2 or (scaling == "relu_max" and 0 < top - low < 0.5 * top):
        return  # nearly flat: rounding to 255 steps is then a visible part of the range
    steps = quantised(grid, scaling)
    exact, blank = activation_maps(grid[None].astype(np.float32), (20, 20), scaling)
    drawn, drawn_blank = activation_maps(steps[None].astype(np.float32), (20, 20), scaling)
    assert bool(blank[0]) == bool(drawn_blank[0])
    assert np.abs(exact - drawn).max() < 0.03


def test_not_finite_grid_is_blank():
    assert not quantised(np.array([[np.nan, 1.0]]), "relu_max").any()


def test_every_sample_with_every_run(data):
    shown = gallery(data, models_of(data))
    assert len(shown["samples"]) == 60
    assert all(set(sample["results"]) == {"1", "2", "3", "4"} for sample in shown["samples"])
    background = next(sample for sample in shown["samples"] if sample["code"] == "B")
    assert background["outline"] == "" and background["results"]["1"]["iou"] is None


def test_gallery_shows_the_models_that_validation_loss_selected(make_data):
    data = make_data(per_class=2)
    chosen = data.frames["selected_runs"].filter(pl.col("run_id").is_in([2, 3]))
    part = dataclasses.replace(data, frames=data.frames | {"selected_runs": chosen})
    shown = gallery(part, models_of(part))
    assert [run["id"] for run in shown["runs"]] == [2, 3]
    assert all(set(sample["results"]) == {"2", "3"} for sample in shown["samples"]) and len(shown["samples"]) == 10


def test_gallery_keeps_its_bytes_and_says_so(data, monkeypatch):
    whole = gallery(data, models_of(data))
    assert not whole["reduced"]
    room = len(json.dumps(whole)) - 20_000
    monkeypatch.setattr("lesionlens.reporting.cases.gallery.BYTES", room)
    small = gallery(data, models_of(data))
    assert small["reduced"] and len(json.dumps(small["samples"])) <= room
    assert [sample["results"] for sample in small["samples"]] == [sample["results"] for sample in whole["samples"]]


def test_a_patch_has_the_maps_of_every_method_that_explained_it_as_far_as_there_is_room(data, changed, monkeypatch):
    explained = dataclasses.replace(data, frames=data.frames | {"method_maps": rare("method_maps")})
    found = {s["key"]: s["results"]["1"]["methods"] for s in gallery(explained, models_of(data))["samples"]}
    own = [methods for methods in found.values() if methods]
    assert [[m["name"] for m in methods] for methods in own] == [["saliency", "LIME"]]
    assert own[0][0]["iou"] == 0.25 and own[0][0]["hit"] and own[0][0]["map"]["rows"] == 2
    monkeypatch.setattr("lesionlens.reporting.cases.gallery.METHOD_BYTES", len(json.dumps(own[0][0])) + 5)
    short = gallery(explained, models_of(data))["samples"]
    assert [m["name"] for s in short for m in s["results"]["1"]["methods"]] == ["saliency"]


def test_each_quadrant_shows_its_own_patches_with_the_highest_confidence_first(data):
    found = examples(data, models_of(data))
    assert list(found) == ["1", "2", "3", "4"]
    samples = data.frames["sample_results"].filter(run_id=2)
    for keys, (correct, located) in zip(found["2"], QUADRANTS, strict=True):
        of_quadrant = samples.filter(correct=correct, hit=located).sort("confidence", descending=True)
        assert keys == of_quadrant["sample_key"].head(SHOWN).to_list() and keys


def test_a_model_without_a_map_of_a_lesion_has_no_examples(data, changed):
    without = changed(data, sample_results={"hit": pl.lit(None, pl.Boolean)})
    assert examples(without, models_of(data)) == {}


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


def test_pictures_of_films_are_told_as_such(data):
    films = dataclasses.replace(data, study=data.study | {"config": data.study["config"] | {"unit": "image"}})
    told = [sample["patch_text"] for sheet in contact_sheet(films) for sample in sheet["samples"]]
    assert told and all("film" in text and "patch" not in text for text in told)


def test_a_record_without_overviews_has_no_sheet(data, changed):
    assert contact_sheet(changed(data, contact_sheet=data.frames["contact_sheet"].clear())) == []
