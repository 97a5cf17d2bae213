"""Baseline maps that are independent of the image."""

import numpy as np
import pytest

from lesionlens.localization.baselines import baseline_maps, disc, mean_map
from lesionlens.localization.curves import CURVE
from lesionlens.localization.metrics import iou_curve


def squares(*corners: tuple[int, int, int]) -> np.ndarray:
    masks = np.zeros((len(corners), 32, 32), dtype=np.bool_)
    for mask, (row, column, side) in zip(masks, corners, strict=True):
        mask[row : row + side, column : column + side] = True
    return masks


def test_the_disc_is_centred_and_has_the_area_asked_for() -> None:
    for size, area in ((32, 100), (33, 69), (32, 1024), (32, 5000), (32, 0.2)):
        region = disc((size, size), area)
        assert region.sum() == min(max(1, round(area)), size * size)
    region = disc((32, 32), 316)
    rows, columns = np.nonzero(region)
    assert abs(rows.mean() - 15.5) < 0.1 and abs(columns.mean() - 15.5) < 0.1
    assert np.hypot(rows - 15.5, columns - 15.5).max() == pytest.approx(np.sqrt(316 / np.pi), abs=1)


def test_baselines_come_from_the_training_masks() -> None:
    masks = squares((4, 4, 10), (4, 4, 10), (4, 4, 14))
    made = baseline_maps(masks)
    assert made["whole_patch"][0].all()
    assert made["centred_disc"][0].sum() == round(float(masks.sum(axis=(1, 2)).mean()))
    mean, level = made["mean_mask"]
    means = [np.nanmean(iou_curve(np.broadcast_to(mean, masks.shape), masks), axis=0)]
    assert level == pytest.approx(CURVE[np.argmax(means[0])])
    assert mean.max() == 1 and mean.min() == 0
    np.testing.assert_array_equal(mean >= level, masks[0])


def test_empty_training_masks_do_not_count() -> None:
    masks = np.concatenate([squares((4, 4, 10)), np.zeros((5, 32, 32), dtype=np.bool_)])
    assert baseline_maps(masks)["centred_disc"][0].sum() == 100


def test_a_training_part_without_lesions_is_refused() -> None:
    with pytest.raises(ValueError, match="training split has no lesion"):
        baseline_maps(np.zeros((3, 32, 32), dtype=np.bool_))


def test_the_mean_of_full_masks_is_the_whole_patch() -> None:
    assert (mean_map(np.ones((2, 8, 8), dtype=np.bool_)) == 1).all()
