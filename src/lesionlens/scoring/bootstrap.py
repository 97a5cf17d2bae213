"""Bootstrap intervals clustered by patient: samples of one patient are drawn together or not at all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, t

ROUNDING = 1e-12
FEW = 30
"""Patients below which intervals are those of a t distribution."""


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Resamples of patients, drawn once and used for every score, so that scores can be paired and multiplied.

    member int64 [n]: which patient a sample belongs to; counts float64 [resamples, patients]: how often a patient was
    drawn.
    """

    member: NDArray[np.int64]
    counts: NDArray[np.float64]

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums of values [n, k] over every resample: [resamples, k]."""
        per_patient = np.zeros((self.counts.shape[1], values.shape[1]))
        np.add.at(per_patient, self.member, values)
        sums: NDArray[np.float64] = self.counts @ per_patient
        return sums

    def patients(self, used: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many patients have a sample in used [n, k]: [k]."""
        per_patient = np.zeros((self.counts.shape[1], used.shape[1]), dtype=np.int64)
        np.add.at(per_patient, self.member, used)
        found: NDArray[np.int64] = (per_patient > 0).sum(axis=0)
        return found

    def within(self, used: NDArray[np.bool_]) -> "Clusters":
        """The same resamples, of the samples used bool [n] alone."""
        return Clusters(self.member[used], self.counts)

    def pairs(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> "Clusters":
        """Resamples of pairs of patients, int64 [k] each: a pair is drawn as often as the one times as the other."""
        names, member = np.unique(np.stack([first, second], axis=1), axis=0, return_inverse=True)
        return Clusters(member.ravel().astype(np.int64), self.counts[:, names[:, 0]] * self.counts[:, names[:, 1]])

    def weights(self, start: int, stop: int) -> NDArray[np.float64]:
        """How often each sample was drawn, for resamples start..stop: [stop - start, n]."""
        return self.counts[start:stop, self.member]


def draw(patients: NDArray[np.str_], resamples: int, generator: np.random.Generator) -> Clusters:
    """As many patients as there are, with replacement, `resamples` times. patients str [n], one per sample."""
    names, member = np.unique(patients, return_inverse=True)
    count = len(names)
    counts = (
        generator.multinomial(count, np.full(count, 1 / count), size=resamples) if count else np.zeros((resamples, 0))
    )
    return Clusters(member.astype(np.int64), counts.astype(np.float64))


def ratios(values: NDArray[np.float64], used: NDArray[np.bool_], clusters: Clusters) -> NDArray[np.float64]:
    """Means of values [n, k] over the samples `used` [n, k] in every resample: [resamples, k]; NaN where none is."""
    totals = clusters.sums(np.where(used, values, 0.0))
    drawn = clusters.sums(used.astype(np.float64))
    means = np.full(totals.shape, np.nan)
    np.divide(totals, drawn, out=means, where=drawn > 0)
    return means


def interval(
    resampled: NDArray[np.float64],
    confidence: float,
    patients: NDArray[np.int64] | int,
    lowest: float = 0.0,
    highest: float = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interval along the first axis, over the resamples in which the score is defined.

    [resamples, k], and the number of patients that a score rests on, [k] or one for all -> low [k], high [k], within
    [lowest, highest]. Percentiles; of fewer than 30 patients, mean and standard deviation of the resamples with the
    quantile of Student's t for that many patients: percentiles of few are too narrow (a 95 % interval of 5 patients
    covers 85 %). NaN where no resample defines the score, and where it rests on one patient: resamples of one
    patient do not vary, and an interval without width would claim certainty. For proportions see
    `proportion_interval`.
    """
    tail = (1 - confidence) / 2
    counted = np.broadcast_to(np.asarray(patients), resampled.shape[1:])
    defined = ~np.isnan(resampled).all(axis=0) & (counted > 1)
    low, high = np.full(defined.shape, np.nan), np.full(defined.shape, np.nan)
    many, few = defined & (counted >= FEW), defined & (counted < FEW)
    if many.any():
        low[many], high[many] = np.nanquantile(resampled[:, many], [tail, 1 - tail], axis=0)
    if few.any():
        size = counted[few]
        # a resampled mean varies by (n - 1) / n of the squared standard error
        half = np.nanstd(resampled[:, few], axis=0) * np.sqrt(size / (size - 1)) * t.ppf(1 - tail, size - 1)
        middle = np.nanmean(resampled[:, few], axis=0)
        low[few], high[few] = (np.clip(middle + way * half, lowest, highest) for way in (-1, 1))
    return low, high


def proportion_interval(
    resampled: NDArray[np.float64], confidence: float, patients: NDArray[np.int64] | int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `interval`, for proportions: means of values that are 0 or 1.

    A proportion that is the same in every patient, 0 or 1 above all, does not vary between resamples, however few
    patients there are. Instead of an interval without width it gets the exact binomial one of that proportion of as
    many patients (Clopper and Pearson 1934, by quantiles of the beta distribution).

    >>> low, high = proportion_interval(np.ones((100, 1)), 0.95, 10)  # 10 of 10 patients, in all resamples
    >>> (round(float(low[0]), 3), float(high[0]))
    (0.692, 1.0)
    """
    low, high = interval(resampled, confidence, patients)
    flat, tail = high - low < ROUNDING, (1 - confidence) / 2
    met, missed = (low * patients)[flat], ((1 - low) * patients)[flat]
    # no quantile where nothing is met, or missed: the end is then that of the range
    low[flat] = np.where(met > 0, beta.ppf(tail, met, missed + 1), 0.0)
    high[flat] = np.where(missed > 0, beta.ppf(1 - tail, met + 1, missed), 1.0)
    return low, high


ROWS = 100  # resamples in memory at once


def resampled_auc(scores: NDArray[np.float32], positive: NDArray[np.bool_], clusters: Clusters) -> NDArray[np.float64]:
    """AUC of `scores` [n] for `positive` [n] in every resample: float64 [resamples]; NaN where a side is not drawn.

    The Mann-Whitney form: the weighted proportion of pairs in which the positive sample scores higher, ties counting
    half.
    """
    if not len(scores):
        return np.full(len(clusters.counts), np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate(([True], np.diff(scores[order]) != 0)))
    inside = positive[order].astype(np.float64)
    resamples = len(clusters.counts)
    areas = np.full(resamples, np.nan)
    for start in range(0, resamples, ROWS):
        weights = clusters.weights(start, min(start + ROWS, resamples))[:, order]
        above = np.add.reduceat(weights * inside, starts, axis=1)
        others = np.add.reduceat(weights * (1 - inside), starts, axis=1)
        lower = np.cumsum(others, axis=1) - others / 2
        pairs = above.sum(axis=1) * others.sum(axis=1)
        won = (above * lower).sum(axis=1)
        areas[start : start + ROWS] = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return areas
