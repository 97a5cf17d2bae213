"""Frames of maps that fail: nothing is dropped, nothing infinite is stored."""

from collections.abc import Callable

import numpy as np

from lesionlens.localization.metrics import score_grids
from lesionlens.localization.samples import Cut, ScoredMaps, localization_frame, map_frame
from lesionlens.records import SampleArrays


def test_a_map_with_nan_is_scored_zero_and_its_grid_not_stored(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches().split("test")
    grids = np.random.default_rng(0).random((len(patches.ids), 3, 3)).astype(np.float32)
    grids[1, 0, 0], grids[2] = np.nan, -1
    assert patches.has_mask[[1, 2, 3]].all()
    scores = score_grids(grids, patches.masks, "relu_max", 0.5)
    cuts = {"otsu": Cut(scores.otsu_threshold, scores.otsu_iou)}
    maps = ScoredMaps("grad_cam", "predicted", "block", patches.labels, grids, scores, cuts)
    rows = map_frame(patches, maps).rows(named=True)
    assert [row["reason"] for row in rows[:4]] == ["background", "not_finite_map", "blank_map", None]
    assert rows[1]["grid"] is None and rows[1]["blank"] and len(rows[2]["grid"]) == 9
    assert [rows[1][k] for k in ("hit", "energy", "rank_accuracy", "pixel_ap")] == [False, 0, 0, 0]
    located = localization_frame(patches, maps, {})
    assert located["iou"][1] == located["iou"][2] == 0 and located["iou"][3] > 0
    assert located["reason"].to_list()[:4] == ["background", "not_finite_map", "blank_map", None]
