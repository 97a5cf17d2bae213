"""The ceiling of a grid: 1 where every pixel has its cell, what a coarse grid can reach otherwise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.localization.baselines import ceiling, cell_means
from lesionlens.localization.maps import EvaluatedSplit, evaluated_split
from lesionlens.localization.samples import scorable
from lesionlens.records import SampleArrays
from lesionlens.training.inputs import Inputs
from tests.unit.arrays import bright_squares

SIZE = 32


def split_of(samples: SampleArrays) -> EvaluatedSplit:
    return evaluated_split(Inputs(samples, "train", torch.device("cpu")), EvaluationConfig())


def with_masks(masks: np.ndarray) -> SampleArrays:
    """A validation and a test sample of each mask."""
    count = len(masks)
    return replace(
        bright_squares(2 * count, size=SIZE),
        pixels=np.zeros((2 * count, *masks.shape[1:]), dtype=np.uint8),
        masks=np.concatenate([masks, masks]),
        has_mask=np.ones(2 * count, dtype=np.bool_),
        splits=np.array(["validation"] * count + ["test"] * count),
    )


def test_a_grid_of_one_cell_per_pixel_reaches_one() -> None:
    split = split_of(bright_squares(60, size=SIZE))
    found = ceiling(split, (SIZE, SIZE))
    masked = scorable(split.test)
    assert masked.sum() > 5 and (found.cuts["mask"].iou[masked] == 1).all()
    assert np.isnan(found.cuts["mask"].iou[~masked]).all()
    assert found.is_reference and not found.is_baseline


def test_a_single_cell_reaches_what_the_whole_sample_does() -> None:
    masks = np.zeros((2, 8, 8), dtype=np.bool_)
    masks[0, :4, :4], masks[1, :6, :6] = True, True
    found = ceiling(split_of(with_masks(masks)), (1, 1))
    assert found.cuts["mask"].iou.tolist() == [16 / 64, 36 / 64]


def test_a_coarse_grid_reaches_what_is_computed_by_hand() -> None:
    """An 8 x 8 sample, 2 x 2 cells, the mask's 4 x 4 pixels all of the first cell.

    Upsampled bilinearly, the cells 1, 0 become 1, 1, 7/8, 5/8, 3/8, 1/8, 0, 0 along either axis, and the map is the
    product of both. At 0.40 the pixel of 5/8 * 5/8 = 0.39 alone is lost, up to 0.50: 15 of 16. At 0.35 it is back and
    four of 3/8 * 1 enter: 16 of 20.
    """
    masks = np.zeros((1, 8, 8), dtype=np.bool_)
    masks[0, :4, :4] = True
    found = ceiling(split_of(with_masks(masks)), (2, 2))
    assert found.grids is not None and found.grids[0].tolist() == [[1, 0], [0, 0]]
    assert found.cuts["mask"].threshold == pytest.approx([0.4])
    assert found.cuts["mask"].iou == pytest.approx([15 / 16])


def test_finer_grids_reach_more() -> None:
    split = split_of(bright_squares(60, size=SIZE))
    masked = scorable(split.test)
    reached = [ceiling(split, (cells, cells)).cuts["mask"].iou[masked].mean() for cells in (1, 2, 4, 8, 16, 32)]
    assert reached == sorted(reached) and reached[0] < 0.6 < reached[-1] == 1


def test_the_threshold_is_the_validation_splits_alone() -> None:
    samples = bright_squares(60, size=SIZE)
    split = split_of(samples)
    moved = samples.masks.copy()
    moved[samples.splits == "test"] = np.roll(moved[samples.splits == "test"], 3, axis=2)
    other = split_of(replace(samples, masks=moved))
    assert ceiling(split, (4, 4)).cuts["mask"].threshold[0] == ceiling(other, (4, 4)).cuts["mask"].threshold[0]
    none = split_of(replace(samples, splits=np.where(samples.splits == "test", "test", "train")))
    assert ceiling(none, (4, 4)).cuts["mask"].threshold[0] == pytest.approx(0.5)


def test_cells_hold_the_proportion_of_them_in_the_mask() -> None:
    masks = np.zeros((1, 4, 6), dtype=np.bool_)
    masks[0, :2, :3], masks[0, 2, 3] = True, True
    assert cell_means(masks, (2, 2)) == pytest.approx(np.array([[[1, 0], [0, 1 / 6]]]))
