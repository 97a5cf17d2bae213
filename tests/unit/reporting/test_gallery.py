"""Every sample with its results, its images within their room, its maps as they were; examples of each quadrant."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lesionlens.attribution.scaling import activation_maps
from lesionlens.reporting.data import shown as models_of
from lesionlens.reporting.gallery import SHOWN, examples, gallery, quantised
from lesionlens.reporting.tables.evidence import QUADRANTS

grids = arrays(np.float64, (4, 5), elements=st.floats(-10, 10, width=32))


@pytest.mark.parametrize("scaling", ["relu_max", "minmax"])
@given(grid=grids)
def test_quantised_grid_gives_the_same_map(scaling, grid):
    top = np.maximum(grid, 0).max() if scaling == "relu_max" else np.ptp(grid)
    low = np.maximum(grid, 0).min()
    if 0 < top < 1e-2 or (scaling == "relu_max" and 0 < top - low < 0.5 * top):
        return  # nearly flat: rounding to 255 steps is then a visible part of the range
    steps = quantised(grid, scaling)
    exact, blank = activation_maps(grid[None].astype(np.float32), 20, scaling)
    drawn, drawn_blank = activation_maps(steps[None].astype(np.float32), 20, scaling)
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
    monkeypatch.setattr("lesionlens.reporting.gallery.BYTES", room)
    small = gallery(data, models_of(data))
    assert small["reduced"] and len(json.dumps(small["samples"])) <= room
    assert [sample["results"] for sample in small["samples"]] == [sample["results"] for sample in whole["samples"]]


def test_each_quadrant_shows_its_own_patches_with_the_highest_confidence_first(data):
    found = examples(data, models_of(data))
    assert list(found) == ["1", "2", "3", "4"]
    samples = data.frames["sample_results"].filter(run_id=2)
    for keys, (correct, located) in zip(found["2"], QUADRANTS, strict=True):
        of_quadrant = samples.filter(correct=correct, hit=located).sort("confidence", descending=True)
        assert keys == of_quadrant["sample_key"].head(SHOWN).to_list() and keys


def test_a_model_without_quadrants_has_no_examples(data, changed):
    assert examples(changed(data, quadrants=data.frames["quadrants"].clear()), models_of(data)) == {}
