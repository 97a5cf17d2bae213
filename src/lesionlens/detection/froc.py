"""FROC: how many lesions are found at how many false marks per film, with intervals clustered by patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.detection.marks import Criterion, Lesions, Marks, matches
from lesionlens.frames import END, Schema
from lesionlens.scoring.bootstrap import ROWS, Clusters, interval, proportion_interval
from lesionlens.scoring.means import score_frame

READ = (0.25, 0.5, 1.0, 2.0, 4.0)
"""False positives per film at which a curve is read."""
CURVE = tuple(2 ** (k / 3) / 16 for k in range(22))
"""False positives per film at which a curve is kept, 1/16 to 8; those of READ are among them."""
ROUNDING = 1e-9

FROC: Schema = {"criterion": pl.String, "group_name": pl.String, "at": pl.Float64, "sensitivity": pl.Float64, **END}


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """Marks against lesions, sorted once. Weights are those of the films' patients.

    false, ends: scores of false marks, falling, and where a run of equal scores ends; false_film, lesion_film int64;
    found float64 [m]: the highest score of a mark on each lesion, minus infinity where none lies.
    """

    false: NDArray[np.float64]
    false_film: NDArray[np.int64]
    ends: NDArray[np.int64]
    found: NDArray[np.float64]
    lesion_film: NDArray[np.int64]

    def limits(self, weights: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
        """The score that marks must exceed so that at most `at` [a] of them per film are false: float64 [r, a].

        weights [r, films]. Minus infinity where all marks may pass. Equal scores pass together or not at all.
        """
        passed = np.cumsum(weights[:, self.false_film], axis=1)[:, self.ends]
        allowed = weights.sum(axis=1)[:, None] * at + ROUNDING
        scores = np.append(self.false[self.ends], -np.inf)
        counted = np.stack([(passed <= allowed[:, [i]]).sum(axis=1) for i in range(len(at))], axis=1)
        limits: NDArray[np.float64] = scores[counted]
        return limits

    def sensitivities(
        self, weights: NDArray[np.float64], limits: NDArray[np.float64], used: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """The proportion of lesions `used` bool [m] found above the limits [r, a]; NaN where none is drawn."""
        order = np.argsort(-self.found[used], kind="stable")
        falling = -self.found[used][order]
        of_lesion = weights[:, self.lesion_film[used][order]]
        totals = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(of_lesion, axis=1)], axis=1)
        above: NDArray[np.int64] = np.searchsorted(falling, -limits, side="left")
        met, all_of_them = np.take_along_axis(totals, above, axis=1), totals[:, -1:]
        found: NDArray[np.float64] = np.full(met.shape, np.nan)
        np.divide(met, all_of_them, out=found, where=all_of_them > 0)
        return found


def _ranked(marks: Marks, lesions: Lesions, criterion: Criterion) -> _Ranked:
    pairs = matches(marks, lesions, criterion)
    false = np.flatnonzero(pairs.false(marks))
    order = false[np.argsort(-marks.scores[false], kind="stable")]
    scores = marks.scores[order]
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.zeros(0, dtype=np.int64)
    return _Ranked(scores, marks.film[order], ends, pairs.found(marks, len(lesions.film)), lesions.film)


def limit(marks: Marks, lesions: Lesions, films: int, at: float) -> float:
    """The score that marks must exceed so that at most `at` of them per film lie on no lesion (centre in the box)."""
    ranked = _ranked(marks, lesions, "centre")
    return float(ranked.limits(np.ones((1, films)), np.array([at]))[0, 0])


def sensitivities(
    marks: Marks,
    lesions: Lesions,
    films: int,
    criterion: Criterion = "centre",
    at: Sequence[float] = READ,
    used: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """The proportion of lesions found at each number of false positives per film: float64 [a]; NaN without lesions.

    The highest sensitivity at a threshold that leaves at most that many marks on no lesion; a method with fewer marks
    keeps its last. films: how many were looked at, those without lesions included; used bool [m]: lesions counted, all
    where None. A mark on a lesion that is not counted is neither right nor false.
    """
    ranked, weights = _ranked(marks, lesions, criterion), np.ones((1, films))
    counted = np.ones(len(lesions.film), dtype=np.bool_) if used is None else used
    found: NDArray[np.float64] = ranked.sensitivities(weights, ranked.limits(weights, np.asarray(at)), counted)[0]
    return found


def resampled_sensitivities(
    marks: Marks,
    lesions: Lesions,
    groups: Sequence[NDArray[np.bool_]],
    clusters: Clusters,
    criterion: Criterion,
    at: NDArray[np.float64],
) -> NDArray[np.float64]:
    """`sensitivities` of every group bool [m] in every resample of patients: float64 [resamples, groups, a]."""
    ranked, count = _ranked(marks, lesions, criterion), len(clusters.counts)
    found = np.full((count, len(groups), len(at)), np.nan)
    for start in range(0, count, ROWS):
        weights = clusters.weights(start, min(start + ROWS, count))
        limits = ranked.limits(weights, at)
        for i, used in enumerate(groups):
            found[start : start + ROWS, i] = ranked.sensitivities(weights, limits, used)
    return found


def _patients(lesions: Lesions, used: NDArray[np.bool_], clusters: Clusters) -> int:
    """Of how many patients lesions are counted."""
    return len(np.unique(clusters.member[lesions.film[used]]))


def froc(
    marks: Marks,
    lesions: Lesions,
    groups: Mapping[str, NDArray[np.bool_]],
    clusters: Clusters,
    confidence: float,
    criterion: Criterion = "centre",
    at: Sequence[float] = CURVE,
) -> pl.DataFrame:
    """The FROC curve of every group of lesions, with intervals over patients: a frame of schema FROC.

    groups: bool [m] by name, such as all, malignant, mass; clusters: resamples of the films' patients, one member a
    film. False positives are marks on no lesion of any group, per film drawn. n counts lesions.
    """
    reading, chosen = np.asarray(at, dtype=np.float64), list(groups.values())
    resampled = resampled_sensitivities(marks, lesions, chosen, clusters, criterion, reading)
    frames = [pl.DataFrame(schema=FROC)]
    for i, (name, used) in enumerate(groups.items()):
        value = sensitivities(marks, lesions, len(clusters.member), criterion, at, used)
        counted = np.full(len(reading), _patients(lesions, used, clusters))
        low, high = proportion_interval(resampled[:, i], confidence, counted)
        keys: list[dict[str, object]] = [{"criterion": criterion, "group_name": name, "at": each} for each in reading]
        n = np.full(len(reading), int(used.sum()), dtype=np.int64)
        frames.append(score_frame(FROC, keys, value, low, high, n))
    return pl.concat(frames)


@dataclass(frozen=True, slots=True)
class Difference:
    """One system's sensitivity minus another's on the same films; low, high: its interval (NaN of one patient)."""

    value: float
    low: float
    high: float
    first: float
    second: float
    n: int


def froc_difference(
    first: Marks,
    second: Marks,
    lesions: Lesions,
    clusters: Clusters,
    confidence: float,
    criterion: Criterion = "centre",
    at: float = 1.0,
) -> Difference:
    """How many more of the same lesions the first system finds than the second, at as many false positives per film.

    Paired: both are read in the same resamples of patients, each at its own threshold there. n counts lesions.
    """
    everything = np.ones(len(lesions.film), dtype=np.bool_)
    drawn = [
        resampled_sensitivities(marks, lesions, [everything], clusters, criterion, np.array([at]))[:, 0]
        for marks in (first, second)
    ]
    one, other = (float(sensitivities(m, lesions, len(clusters.member), criterion, [at])[0]) for m in (first, second))
    low, high = interval(drawn[0] - drawn[1], confidence, _patients(lesions, everything, clusters), lowest=-1.0)
    return Difference(one - other, float(low[0]), float(high[0]), one, other, len(lesions.film))
