"""Localisation scores against plain loops over scikit-image and scikit-learn, and the decided edge cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from sklearn.metrics import average_precision_score, jaccard_score

from lesionlens.attribution.scaling import activation_maps
from lesionlens.localization import curves
from lesionlens.localization.curves import CURVE, tuned
from lesionlens.localization.metrics import (
    energies,
    histogram_scores,
    hits,
    iou_at,
    iou_curve,
    rank_scores,
    score_grids,
    score_maps,
)

SIZE = 48


def discs(count: int, seed: int = 0) -> NDArray[np.bool_]:
    """One ellipse-like lesion per sample, of any size and place."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centres, radii = generator.uniform(8, SIZE - 8, (count, 2)), generator.uniform(2, 20, (count, 2))
    distance = ((rows - centres[:, 0, None, None]) / radii[:, 0, None, None]) ** 2
    distance += ((columns - centres[:, 1, None, None]) / radii[:, 1, None, None]) ** 2
    return distance <= 1


def random_maps(count: int, seed: int = 0) -> NDArray[np.float32]:
    grids = np.random.default_rng(seed).normal(size=(count, 6, 6)).astype(np.float32)
    return activation_maps(grids, (SIZE, SIZE), "relu_max")[0]


def region_iou(region: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    return float(jaccard_score(mask.ravel(), region.ravel()))


def test_the_curve_is_the_plain_loop() -> None:
    maps, masks = random_maps(30), discs(30)
    plain = [[region_iou(m >= t, mask) for t in CURVE] for m, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(iou_curve(maps, masks), plain, atol=1e-12)


def test_the_curve_is_exact_at_every_level_and_its_neighbours() -> None:
    values = np.concatenate([CURVE, np.nextafter(CURVE, np.float32(0)), np.nextafter(CURVE, np.float32(1)), [0, 1]])
    maps = np.zeros((1, 8, 8), dtype=np.float32)
    maps.ravel()[: len(values)] = values
    mask = np.random.default_rng(0).random((1, 8, 8)) < 0.5
    plain = [region_iou(maps[0] >= t, mask[0]) for t in CURVE]
    np.testing.assert_allclose(iou_curve(maps, mask)[0], plain, atol=1e-12)


def test_otsu_is_scikit_image() -> None:
    maps, masks = random_maps(200, seed=1), discs(200, seed=1)
    plain = [threshold_otsu(m) for m in maps]
    counted = curves.counts(maps, masks)
    scores = histogram_scores(counted)
    found, iou = scores.otsu_threshold, scores.otsu_iou
    np.testing.assert_allclose(found, plain, atol=1e-6)
    expected = [region_iou(m > t, mask) for m, t, mask in zip(maps, plain, masks, strict=True)]
    np.testing.assert_allclose(iou, expected, atol=1e-12)
    np.testing.assert_allclose(iou_at(maps, masks, found), expected, atol=1e-12)


def test_pixel_ap_is_scikit_learn_and_rank_accuracy_a_sorted_loop() -> None:
    maps, masks = random_maps(30, seed=2), discs(30, seed=2)
    found = rank_scores(maps, masks)
    plain = [average_precision_score(mask.ravel(), m.ravel()) for m, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(found.pixel_ap, plain, atol=1e-9)
    distinct = np.random.default_rng(0).permuted(
        np.tile(np.linspace(0.01, 1, SIZE * SIZE, dtype=np.float32), (30, 1)), axis=1
    )
    proportions = []
    for values, mask in zip(distinct, masks, strict=True):
        top = np.argsort(values)[::-1][: mask.sum()]
        proportions.append(mask.ravel()[top].mean())
    found = rank_scores(distinct.reshape(maps.shape), masks)
    np.testing.assert_allclose(found.rank_accuracy, proportions, atol=1e-12)
    # Without ties the area policy keeps as many pixels as the mask has: IoU = p / (2 - p) for a proportion p inside.
    np.testing.assert_allclose(found.area_iou, np.array(proportions) / (2 - np.array(proportions)), atol=1e-12)


def test_activation_precision_is_a_literal_percentile_loop() -> None:
    """Where no pixels are equal; among equal ones it is the mean over all orders, so a flat map's is chance."""
    for side in (7, 20, 33, 96):
        random = np.random.default_rng(side)
        maps = random.permuted(np.tile(np.linspace(0.01, 1, side * side, dtype=np.float32), (6, 1)), axis=1)
        maps, masks = maps.reshape(6, side, side), random.random((6, side, side)) < 0.3
        expected = []
        for values, mask in zip(maps, masks, strict=True):
            top = values >= np.percentile(values, 95)
            expected.append((top & mask).sum() / top.sum())
        np.testing.assert_allclose(rank_scores(maps, masks).top5, expected, atol=1e-12)
        flat = rank_scores(np.ones_like(maps), masks).top5
        np.testing.assert_allclose(flat, masks.mean(axis=(1, 2)), atol=1e-12)
    assert rank_scores(np.zeros((1, 9, 9), np.float32), masks[:1, :9, :9]).top5[0] == 0


def test_rank_accuracy_takes_the_expected_proportion_where_the_cut_falls_among_equal_pixels() -> None:
    values = np.array([[[1, 0.5], [0.5, 0]]], dtype=np.float32)
    mask = np.array([[[1, 1], [0, 0]]], dtype=np.bool_)
    assert rank_scores(values, mask).rank_accuracy[0] == pytest.approx(0.75)


def test_the_area_policy_never_keeps_zeros() -> None:
    values = np.zeros((1, 4, 4), dtype=np.float32)
    values[0, 0, 0], values[0, 0, 1] = 1, 0.25
    mask = np.zeros((1, 4, 4), dtype=np.bool_)
    mask[0, :2] = True
    found = rank_scores(values, mask)
    assert found.area_threshold[0] == 0.25 and found.area_iou[0] == pytest.approx(2 / 8)


def test_energy_and_hit_are_the_plain_loop() -> None:
    maps, masks = random_maps(40, seed=3), discs(40, seed=3)
    plain = [m[mask].sum(dtype=np.float64) / m.sum(dtype=np.float64) for m, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(energies(maps, masks), plain, atol=1e-9)
    single = maps * 0.9
    generator = np.random.default_rng(0)
    places = generator.integers(0, SIZE, (40, 2))
    single[np.arange(40), places[:, 0], places[:, 1]] = 1
    np.testing.assert_array_equal(hits(single, masks), masks[np.arange(40), places[:, 0], places[:, 1]])


def test_a_shared_maximum_hits_when_half_of_it_lies_in_the_mask() -> None:
    maps = np.zeros((3, 4, 4), dtype=np.float32)
    maps[:, 0, :] = 1
    maps[:, 0, 3] = 1 - 1e-7  # rounding of the upsampling, not another value
    masks = np.zeros((3, 4, 4), dtype=np.bool_)
    masks[0, 0, :1], masks[1, 0, :2], masks[2, 0, :4] = True, True, True
    assert hits(maps, masks).tolist() == [False, True, True]


def test_a_blank_map_scores_zero_and_a_constant_one_scores_as_the_whole_patch() -> None:
    grids = np.stack([np.full((3, 3), v, dtype=np.float32) for v in (-1, 0.4, np.nan)])
    masks = discs(3, seed=4)
    scores = score_grids(grids, masks, "relu_max", 0.5)
    fraction = masks.mean(axis=(1, 2))
    assert scores.blank.tolist() == [True, False, True]
    for policy in (scores.otsu_iou, scores.fixed_iou, scores.area_iou, scores.curve[:, 0], scores.curve[:, 18]):
        np.testing.assert_allclose(policy, [0, fraction[1], 0], atol=1e-12)
    for value in (scores.energy, scores.rank_accuracy, scores.pixel_ap):
        np.testing.assert_allclose(value, [0, fraction[1], 0], atol=1e-9)
    assert scores.hit.tolist() == [False, bool(fraction[1] >= 0.5), False]


def test_an_empty_mask_has_no_score_and_a_full_one_is_hit_by_everything() -> None:
    maps = random_maps(2, seed=5)
    masks = np.zeros((2, SIZE, SIZE), dtype=np.bool_)
    masks[1] = True
    scores = score_maps(maps, masks, 0.5)
    for value in (scores.energy, scores.rank_accuracy, scores.pixel_ap, scores.otsu_iou, scores.area_iou):
        assert np.isnan(value[0])
    assert np.isnan(scores.curve[0]).all() and not scores.hit[0]
    assert scores.hit[1]
    assert [scores.energy[1], scores.rank_accuracy[1], scores.pixel_ap[1]] == pytest.approx([1, 1, 1])
    np.testing.assert_allclose(scores.curve[1], [(maps[1] >= t).mean() for t in CURVE], atol=1e-12)


def test_a_mask_smaller_than_a_grid_cell_is_scored_like_any_other() -> None:
    grids = np.zeros((1, 3, 3), dtype=np.float32)
    grids[0, 1, 1] = 1
    masks = np.zeros((1, SIZE, SIZE), dtype=np.bool_)
    masks[0, 23:25, 23:25] = True
    scores = score_grids(grids, masks, "relu_max", 0.5)
    maps, _ = activation_maps(grids, (SIZE, SIZE), "relu_max")
    assert scores.hit[0]
    assert scores.fixed_iou[0] == pytest.approx(4 / (maps[0] >= 0.5).sum())
    assert scores.rank_accuracy[0] == 1


def test_no_samples_give_empty_scores() -> None:
    none = np.zeros((0, 3, 3), dtype=np.float32)
    scores = score_grids(none, np.zeros((0, SIZE, SIZE), dtype=np.bool_), "relu_max", 0.5)
    assert scores.curve.shape == (0, 19) and len(scores.hit) == 0


def test_chunks_join_in_order() -> None:
    grids = np.random.default_rng(0).normal(size=(150, 3, 3)).astype(np.float32)
    masks = discs(150)
    whole = score_grids(grids, masks, "relu_max", 0.5)
    one = score_grids(grids[140:141], masks[140:141], "relu_max", 0.5)
    assert whole.pixel_ap[140] == one.pixel_ap[0] and whole.fixed_iou[140] == one.fixed_iou[0]


def test_the_tuned_threshold_is_the_lowest_of_the_best_levels() -> None:
    curves = np.zeros((2, 19))
    curves[:, 4], curves[:, 9] = [0.2, 0.4], [0.4, 0.2]
    assert tuned(curves) == pytest.approx(0.25)
    assert tuned(np.zeros((0, 19))) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_scores_stay_in_range_for_maps_full_of_ties(seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    maps = (generator.integers(0, levels + 1, (2, 12, 12)) / levels).astype(np.float32)
    masks = generator.random((2, 12, 12)) < generator.random()
    masks[:, 0, 0] = True
    scores = score_maps(maps, masks, 0.5)
    for value in (scores.energy, scores.rank_accuracy, scores.pixel_ap, scores.otsu_iou, scores.area_iou, scores.curve):
        assert ((value >= 0) & (value <= 1 + 1e-12)).all()
    plain = [average_precision_score(mask.ravel(), m.ravel()) for m, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(scores.pixel_ap, np.where(scores.blank, 0, plain), atol=1e-9)


# quantus implements the two formulas of Arras et al. (Information Fusion 81, 2022), too, and would be the natural
# oracle. It is not installed: it needs a second OpenCV beside the one that grad-cam brings.


def mass_accuracy(relevance: np.ndarray, truth: np.ndarray) -> float:
    """R_within / R_total: relevance of the pixels in the mask over that of all pixels."""
    within = math.fsum(float(r) for r, inside in zip(relevance.ravel(), truth.ravel(), strict=True) if inside)
    return within / math.fsum(float(r) for r in relevance.ravel())


def rank_accuracy(relevance: np.ndarray, truth: np.ndarray) -> float:
    """|P_top-K and GT| / K, K the pixels of the mask, P_top-K the K most relevant ones."""
    inside = set(np.flatnonzero(truth).tolist())
    strongest = sorted(range(relevance.size), key=lambda pixel: float(relevance.ravel()[pixel]), reverse=True)
    return len(inside & set(strongest[: len(inside)])) / len(inside)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_energy_and_rank_accuracy_are_the_published_formulas(seed: int) -> None:
    generator = np.random.default_rng(seed)
    grids = generator.normal(size=(2, 5, 5)).astype(np.float32) + np.float32(0.5)
    maps, blank = activation_maps(grids, (24, 24), "minmax")
    maps += generator.random(maps.shape).astype(np.float32) * np.float32(1e-3)  # no two pixels alike
    masks = generator.random(maps.shape) < generator.uniform(0.02, 0.9)
    masks[:, 0, 0] = True
    assert not blank.any()
    ranked = rank_scores(maps, masks).rank_accuracy
    for n, (relevance, truth) in enumerate(zip(maps, masks, strict=True)):
        assert energies(maps, masks)[n] == pytest.approx(mass_accuracy(relevance, truth), abs=1e-9)
        assert ranked[n] == pytest.approx(rank_accuracy(relevance, truth), abs=1e-12)


def test_where_pixels_tie_ours_is_the_mean_over_every_order() -> None:
    """The published formula leaves ties to the sorting; ours takes what any order gives on average."""
    relevance = np.array([[[1, 0.5, 0.5], [0.5, 0, 0], [0, 0, 0]]], dtype=np.float32)
    truth = np.array([[[1, 1, 0], [0, 0, 0], [0, 0, 0]]], dtype=np.bool_)
    generator = np.random.default_rng(0)
    drawn = [rank_accuracy(relevance[0] + generator.random((3, 3)) * 1e-3, truth[0]) for _ in range(4000)]
    assert rank_scores(relevance, truth).rank_accuracy[0] == pytest.approx(np.mean(drawn), abs=0.02)
