"""Quadrants against plain counting."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import draw
from lesionlens.scoring.subgroups import QUADRANTS, quadrants


def test_quadrants_hold_every_scored_lesion_once(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches(count=120)
    generator = np.random.default_rng(0)
    correct, located = generator.random(120) < 0.7, generator.random(120) < 0.5
    clusters = draw(patches.patients, 200, generator)
    frame = quadrants(patches, correct, located, clusters, 0.95)
    assert frame.schema == pl.Schema(QUADRANTS) and frame.height == (1 + 4) * 4
    wrong_reason = frame.filter(label=2, correct=True, located=False).row(0, named=True)
    chosen = (patches.labels == 2) & correct & ~located
    assert wrong_reason["n"] == chosen.sum() > 0
    assert wrong_reason["proportion"] == pytest.approx(chosen.sum() / (patches.labels == 2).sum())
    assert wrong_reason["low"] < wrong_reason["proportion"] < wrong_reason["high"]
    for label, part in frame.group_by("label"):
        assert part["n"].sum() == part["lesions"][0], label
        assert part["proportion"].sum() == pytest.approx(1)
    assert frame.filter(pl.col("label").is_null())["n"].sum() == patches.has_mask.sum()


def test_an_empty_quadrant_is_a_row(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()
    everything = np.ones(len(patches.ids), dtype=np.bool_)
    clusters = draw(patches.patients, 100, np.random.default_rng(0))
    frame = quadrants(patches, everything, everything, clusters, 0.95)
    assert frame.filter(correct=False)["n"].to_list() == [0] * 10
    assert frame.filter(correct=True, located=True)["proportion"].to_list() == [1] * 5
