"""Patient-clustered resampling against plain loops, and the coverage of its intervals."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

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


def test_a_share_that_no_patient_varies_is_as_sure_as_a_binomial_one() -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize(("count", "truth"), [(8, 0.85), (20, 0.95), (40, 0.95), (40, 0.02)])
def test_intervals_of_shares_near_the_ends_cover_the_truth(count: int, truth: float) -> None:
    """2,000 studies of a few patients, one sample each. Few outcomes are possible, so more than 95 % may be covered."""
    generator = np.random.default_rng(0)
    covered, studies = {interval: 0, proportion_interval: 0}, 2000
    for _ in range(studies):
        values = (generator.random(count) < truth).astype(np.float64)[:, None]
        resampled = ratios(values, values >= 0, draw(patients(count, 1), 200, generator))
        for method in covered:
            low, high = method(resampled, 0.95, count)
            covered[method] += int(low[0] <= truth <= high[0])
    assert covered[interval] / studies < 0.90 <= covered[proportion_interval] / studies, covered


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


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """400 simulated studies of 120 patients with 1 to 4 samples each, whose scores share a patient effect."""
    generator = np.random.default_rng(0)
    covered = {"clustered": 0, "ignoring patients": 0}
    studies, truth = 400, 0.4
    for _ in range(studies):
        per_patient = generator.integers(1, 5, 120)
        names = np.repeat([f"P_{i}" for i in range(120)], per_patient)
        chance = np.repeat(generator.beta(2, 3, 120), per_patient)  # mean 0.4, shared within a patient
        values = (generator.random(len(names)) < chance).astype(np.float64)[:, None]
        for kind, units in (("clustered", names), ("ignoring patients", np.arange(len(names)).astype(np.str_))):
            resampled = ratios(values, np.ones_like(values, dtype=np.bool_), draw(units, 400, generator))
            low, high = interval(resampled, 0.95, 120)
            covered[kind] += int(low[0] <= truth <= high[0])
    assert 0.90 <= covered["clustered"] / studies <= 0.98
    assert covered["clustered"] > covered["ignoring patients"]


@pytest.mark.slow
def test_intervals_of_ll_of_paired_differences_and_of_auc_cover_the_truth_too() -> None:
    """Means over samples that chance picks, which a patient's difficulty links to the scores; 400 studies again."""
    generator = np.random.default_rng(1)

    def study(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        member = np.repeat(np.arange(count), generator.integers(1, 5, count))
        ease = generator.normal(size=count)[member][:, None]
        right = generator.random((len(member), 2)) < 1 / (1 + np.exp(-ease))
        return member, right, 0.4 + 0.1 * ease + generator.normal([0, -0.05], 0.1, right.shape)

    def scores(right: np.ndarray, iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """LL of the first model; what it has more than the second where both are right."""
        gap = iou[:, 0] - iou[:, 1]
        return np.stack([iou[:, 0], gap], axis=1), np.stack([right[:, 0], right.all(axis=1)], axis=1)

    _, right, iou = study(200_000)
    values, used = scores(right, iou)
    truth = [*np.average(values, weights=used, axis=0), roc_auc_score(right[:, 0], iou[:, 0])]
    covered, studies = np.zeros(3), 400
    for _ in range(studies):
        member, right, iou = study(120)
        clusters = draw(member.astype(np.str_), 400, generator)
        areas = resampled_auc(iou[:, 0].astype(np.float32), right[:, 0], clusters)
        low, high = interval(np.column_stack([ratios(*scores(right, iou), clusters), areas]), 0.95, 120)
        covered += (low <= truth) & (truth <= high)
    assert (covered / studies >= 0.90).all() and (covered / studies <= 0.98).all(), covered / studies


def test_only_shares_get_the_width_of_shares() -> None:
    """An IoU that is the same for every lesion is no share of yes and no; an IoU of 0 for all of them may be."""
    used = np.ones(12, dtype=np.bool_)
    used[::2] = False
    clusters = draw(patients(12, 1), 100, np.random.default_rng(0))
    wanted = [Mean({}, np.where(used, value, np.nan), used) for value in (0.3, 0.0, 1.0)]
    found = means(wanted, clusters, 0.95)
    exact = binomtest(0, 6).proportion_ci(0.95).high
    np.testing.assert_allclose(found.low, [0.3, 0, 1 - exact])
    np.testing.assert_allclose(found.high, [0.3, exact, 1])
    plain = means(wanted, clusters, 0.95, shares=False)
    np.testing.assert_allclose([plain.low, plain.high], [[0.3, 0, 1]] * 2)
