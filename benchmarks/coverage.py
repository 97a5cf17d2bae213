"""Coverage of the intervals and error rates of the tests, in simulated studies of known truth.

    python -m benchmarks.coverage            about two minutes on one core
    python -m benchmarks.coverage --small    100 studies of every kind

Intervals at 95 % should cover the truth in 95 of 100 studies, tests at 0.05 reject in 5 of 100 where nothing differs.
Beside both stands what one gets from samples of a patient taken as independent. Run after a change of
`scoring.bootstrap` or `scoring.comparison.models`.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from lesionlens.scoring.bootstrap import draw, interval, proportion_interval, ratios, resampled_auc
from lesionlens.scoring.comparison.models import mcnemar, t_test

Values = NDArray[np.float64]
PATIENTS = 120
RESAMPLES = 400


def of_proportion(studies: int, count: int, truth: float, seed: int) -> tuple[float, float]:
    """Coverage of the percentile interval and of `proportion_interval`: `count` patients, one sample of each.

    Few outcomes are possible, so more than 95 % may be covered.
    """
    generator = np.random.default_rng(seed)
    covered = np.zeros(2)
    for _ in range(studies):
        values = (generator.random(count) < truth).astype(np.float64)[:, None]
        resampled = ratios(values, values >= 0, draw(np.arange(count).astype(np.str_), 200, generator))
        for n, method in enumerate((interval, proportion_interval)):
            low, high = method(resampled, 0.95, count)
            covered[n] += low[0] <= truth <= high[0]
    return covered[0] / studies, covered[1] / studies


def of_few(studies: int, count: int, seed: int) -> tuple[float, float]:
    """Coverage for a mean of few patients, 1 to 4 samples of each, and for an AUC of as many patients of each side.

    Below 30 patients `interval` is that of a t distribution.
    """
    generator = np.random.default_rng(seed)
    truth = float(norm.cdf(1 / np.sqrt(2)))
    covered = np.zeros(2)
    for _ in range(studies):
        member = np.repeat(np.arange(count), generator.integers(1, 5, count))
        values = (0.4 + generator.normal(0, 0.1, count)[member] + generator.normal(0, 0.1, len(member)))[:, None]
        resampled = ratios(values, values > -9, draw(member.astype(np.str_), RESAMPLES, generator))
        low, high = interval(resampled, 0.95, count, lowest=-1.0)
        covered[0] += low[0] <= 0.4 <= high[0]
        positive = np.arange(2 * count) < count
        scores = generator.normal(positive.astype(np.float64), 1).astype(np.float32)
        areas = resampled_auc(scores, positive, draw(np.arange(2 * count).astype(np.str_), RESAMPLES, generator))
        low, high = interval(areas[:, None], 0.95, count)
        covered[1] += low[0] <= truth <= high[0]
    mean, auc = covered / studies
    return float(mean), float(auc)


def of_mean(studies: int, seed: int) -> tuple[float, float]:
    """Coverage for means of 1 to 4 samples of a patient, which have a probability in common: by patient, by sample."""
    generator = np.random.default_rng(seed)
    covered = np.zeros(2)
    for _ in range(studies):
        per_patient = generator.integers(1, 5, PATIENTS)
        member = np.repeat(np.arange(PATIENTS), per_patient)
        likely = generator.beta(2, 3, PATIENTS)[member]  # mean 0.4
        values = (generator.random(len(member)) < likely).astype(np.float64)[:, None]
        for n, units in enumerate((member, np.arange(len(member)))):
            resampled = ratios(values, values >= 0, draw(units.astype(np.str_), RESAMPLES, generator))
            low, high = interval(resampled, 0.95, PATIENTS)
            covered[n] += low[0] <= 0.4 <= high[0]
    return covered[0] / studies, covered[1] / studies


def of_localization(studies: int, seed: int) -> tuple[float, float, float]:
    """Coverage for LL, for the LL difference of two models, and for AUC.

    Means over samples that are selected by their prediction, which a patient's difficulty links to the scores.
    """
    generator = np.random.default_rng(seed)

    def study(count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], Values]:
        member = np.repeat(np.arange(count), generator.integers(1, 5, count))
        ease = generator.normal(size=count)[member][:, None]
        right = generator.random((len(member), 2)) < 1 / (1 + np.exp(-ease))
        return member, right, 0.4 + 0.1 * ease + generator.normal([0, -0.05], 0.1, right.shape)

    def scores(right: NDArray[np.bool_], iou: Values) -> tuple[Values, NDArray[np.bool_]]:
        """IoU of the first model, and its difference from the second where both are right."""
        gap = iou[:, 0] - iou[:, 1]
        return np.stack([iou[:, 0], gap], axis=1), np.stack([right[:, 0], right.all(axis=1)], axis=1)

    _, right, iou = study(200_000)
    values, used = scores(right, iou)
    truth = [*np.average(values, weights=used, axis=0), roc_auc_score(right[:, 0], iou[:, 0])]
    covered = np.zeros(3)
    for _ in range(studies):
        member, right, iou = study(PATIENTS)
        clusters = draw(member.astype(np.str_), RESAMPLES, generator)
        areas = resampled_auc(iou[:, 0].astype(np.float32), right[:, 0], clusters)
        low, high = interval(np.column_stack([ratios(*scores(right, iou), clusters), areas]), 0.95, PATIENTS)
        covered += (low <= truth) & (truth <= high)
    ll, difference, auc = covered / studies
    return float(ll), float(difference), float(auc)


def of_mcnemar(studies: int, seed: int) -> tuple[float, float]:
    """How often equally good models differ at 0.05, in 60 patients of 4 samples that agree: by patient, by sample."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(studies):
        likely = generator.beta(0.5, 0.5, size=(60, 2, 1))  # how often both models are right, by patient
        right = (generator.random((60, 2, 4)) < likely).astype(np.int64)
        gap = right[:, 0] - right[:, 1]
        found.append((mcnemar(gap.sum(axis=1)), mcnemar(gap.ravel())))
    return _rejected(found)


def of_t_test(studies: int, seed: int) -> tuple[float, float]:
    """How often LL of equally good models differs at 0.05, in 40 patients of 1 to 5 lesions: by patient, by lesion."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(studies):
        lesions = generator.integers(1, 6, 40)
        gap = np.repeat(generator.normal(0, 0.2, 40), lesions) + generator.normal(0, 0.1, lesions.sum())
        found.append((t_test(np.add.reduceat(gap, np.cumsum(lesions) - lesions)), t_test(gap)))
    return _rejected(found)


def _rejected(p: list[tuple[float, float]]) -> tuple[float, float]:
    by_patient, by_sample = (np.array(p) < 0.05).mean(axis=0)
    return float(by_patient), float(by_sample)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="100 studies of every kind")
    small = parser.parse_args().small

    def show(what: str, studies: int, **found: float) -> None:
        rates = ", ".join(f"{name.replace('_', ' ')} {100 * rate:.1f} %" for name, rate in found.items())
        print(f"{what:44s} {rates} (n = {studies:,} studies)")

    print("Coverage at 95 %")
    for count, truth in ((8, 0.85), (20, 0.95), (40, 0.95), (40, 0.02)):
        studies = 100 if small else 2000
        percentile, exact = of_proportion(studies, count, truth, seed=0)
        show(f"  proportion of {truth:g}, {count} patients", studies, proportion_interval=exact, percentile=percentile)
    for count in (5, 12, 20, 29):
        studies = 100 if small else 2000
        mean, auc = of_few(studies, count, seed=0)
        show(f"  {count} patients (of each side)", studies, mean=mean, AUC=auc)
    studies = 100 if small else 400
    clustered, ignoring = of_mean(studies, seed=0)
    show(f"  mean, {PATIENTS} patients", studies, by_patient=clustered, by_sample=ignoring)
    for name, rate in zip(("LL", "difference of LL", "AUC"), of_localization(studies, seed=1), strict=True):
        show(f"  {name}, {PATIENTS} patients", studies, by_patient=rate)
    print("Rejected at 0.05 where nothing differs")
    for name, test, many in (("accuracy, McNemar", of_mcnemar, 1500), ("LL, t test", of_t_test, 3000)):
        studies = 100 if small else many
        by_patient, by_sample = test(studies, seed=2)
        show(f"  {name}", studies, by_patient=by_patient, by_sample=by_sample)


if __name__ == "__main__":
    main()
