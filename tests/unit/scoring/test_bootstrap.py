"""Patient-clustered resampling against plain loops, and the coverage of its intervals in a few studies."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from benchmarks import coverage
from lesionlens.scoring.bootstrap import draw, interval, proportion_interval, ratios, resampled_auc
from lesionlens.scoring.means import Mean, means


def patients(count: int, per_patient: int) -> np.ndarray:
    return np.array([f"P_{i // per_patient:03d}" for i in range(count)])


def test_samples_of_one_patient_are_drawn_together() -> None:
    clusters = draw(patients(12, 3), 50, np.random.default_rng(0))
    weights = clusters.weights(0, 50)
    assert weights.shape == (50, 12)
    np.testing.assert_array_equal(weights[:, 0::3], weights[:, 2::3])
    np.testing.assert_array_equal(clusters.counts.sum(axis=1), np.full(50, 4))


def test_ratios_are_weighted_means_of_the_samples_in_use() -> None:
    generator = np.random.default_rng(1)
    values, used = generator.random((20, 2)), generator.random((20, 2)) < 0.6
    clusters = draw(patients(20, 2), 30, generator)
    found = ratios(values, used, clusters)
    for resample, weights in enumerate(clusters.weights(0, 30)):
        for column in range(2):
            chosen = used[:, column]
            expected = np.average(values[chosen, column], weights=weights[chosen])
            assert found[resample, column] == pytest.approx(expected)


def test_a_resample_without_any_sample_in_use_is_undefined_and_left_out() -> None:
    used = np.zeros((8, 2), dtype=np.bool_)
    used[0, 0] = True
    clusters = draw(patients(8, 1), 200, np.random.default_rng(0))
    resampled = ratios(np.full((8, 2), 0.7), used, clusters)
    assert 0 < np.isnan(resampled[:, 0]).sum() < 200 and np.isnan(resampled[:, 1]).all()
    low, high = interval(resampled, 0.95, 2)
    assert [low[0], high[0]] == pytest.approx([0.7, 0.7]) and np.isnan([low[1], high[1]]).all()


def test_a_score_that_rests_on_one_patient_has_no_interval() -> None:
    values, used = np.arange(8.0)[:, None].repeat(2, axis=1), np.ones((8, 2), dtype=np.bool_)
    used[2:, 1] = False
    clusters = draw(patients(8, 2), 200, np.random.default_rng(0))
    assert clusters.patients(used).tolist() == [4, 1]
    low, high = interval(ratios(values, used, clusters), 0.95, clusters.patients(used))
    assert low[0] < high[0] and np.isnan([low[1], high[1]]).all()


def test_a_proportion_that_no_patient_varies_has_the_binomial_interval() -> None:
    values = np.zeros((12, 5))
    values[:, 1], values[:6, 2], values[:, 4] = 1, 1, 1 / 3
    used = np.ones((12, 5), dtype=np.bool_)
    used[4:, 3] = False
    clusters = draw(patients(12, 1), 300, np.random.default_rng(0))
    low, high = proportion_interval(ratios(values, used, clusters), 0.95, clusters.patients(used))
    for column, k in ((0, 0), (1, 12), (3, 0), (4, 4)):
        n = int(used[:, column].sum())
        exact = binomtest(k, n).proportion_ci(0.95)
        assert (low[column], high[column]) == pytest.approx((exact.low, exact.high))
    assert 0 < low[2] < 0.5 < high[2] < 1
    alone = proportion_interval(np.ones((50, 1)), 0.95, 1)
    assert np.isnan(alone).all()


def test_intervals_of_proportions_near_the_ends_cover_the_truth() -> None:
    """`benchmarks.coverage` repeats this with 2,000 studies of four sizes."""
    percentile, exact = coverage.of_proportion(100, count=20, truth=0.95, seed=0)
    assert percentile < 0.8 < 0.9 <= exact


def test_the_same_seed_draws_the_same_patients() -> None:
    first, second = (draw(patients(30, 2), 10, np.random.default_rng(7)).counts for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_resampled_auc_is_scikit_learn_with_weights() -> None:
    generator = np.random.default_rng(2)
    scores = np.round(generator.random(60), 1).astype(np.float32)  # many ties
    positive = generator.random(60) < 0.4
    clusters = draw(patients(60, 3), 120, generator)
    found = resampled_auc(scores, positive, clusters)
    for resample in (0, 50, 119):
        weights = clusters.weights(resample, resample + 1)[0]
        assert found[resample] == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights))


def test_resampled_auc_is_undefined_where_one_side_is_not_drawn() -> None:
    positive = np.array([True, False, False, False])
    found = resampled_auc(
        np.array([4, 3, 2, 1], np.float32), positive, draw(patients(4, 1), 100, np.random.default_rng(0))
    )
    assert 0 < np.isnan(found).sum() < 100 and np.nanmin(found) == 1


def test_intervals_cover_the_truth_as_often_as_they_claim() -> None:
    clustered, ignoring_patients = coverage.of_mean(100, seed=0)
    assert ignoring_patients < 0.9 <= clustered <= 0.99


def test_intervals_of_ll_of_paired_differences_and_of_auc_cover_the_truth_too() -> None:
    assert all(0.85 <= found <= 0.99 for found in coverage.of_localization(100, seed=1))


def test_only_binary_values_get_the_width_of_proportions() -> None:
    """An IoU that is the same for every lesion is no proportion; an IoU of 0 for all of them may be one."""
    used = np.ones(12, dtype=np.bool_)
    used[::2] = False
    clusters = draw(patients(12, 1), 100, np.random.default_rng(0))
    wanted = [Mean({}, np.where(used, value, np.nan), used) for value in (0.3, 0.0, 1.0)]
    found = means(wanted, clusters, 0.95)
    exact = binomtest(0, 6).proportion_ci(0.95).high
    np.testing.assert_allclose(found.low, [0.3, 0, 1 - exact])
    np.testing.assert_allclose(found.high, [0.3, exact, 1])
    plain = means(wanted, clusters, 0.95, binary=False)
    np.testing.assert_allclose([plain.low, plain.high], [[0.3, 0, 1]] * 2)
