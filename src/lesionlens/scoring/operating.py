"""Operating points: sensitivity at a wanted specificity, the threshold from validation; by lesion, breast, patient."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata

from lesionlens.frames import FRAMES
from lesionlens.records import SampleArrays
from lesionlens.scoring.binary import View, conditional
from lesionlens.scoring.bootstrap import draw, proportion_interval, resampled_auc
from lesionlens.scoring.means import Key, Mean, means, score_frame

SPECIFICITIES = (0.80, 0.90)
CURVE = tuple(n / 20 for n in range(21))
"""Specificities at which the ROC curve is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """What is scored at one level: score float32 [n], truth bool [n], patients str [n]."""

    score: NDArray[np.float32]
    truth: NDArray[np.bool_]
    patients: NDArray[np.str_]


def operating_points(
    test: tuple[SampleArrays, NDArray[np.float32], NDArray[np.str_]],
    validation: tuple[SampleArrays, NDArray[np.float32], NDArray[np.str_]],
    views: dict[str, View],
    resamples: int,
    confidence: float,
    seed: int,
) -> pl.DataFrame:
    """auc, the ROC curve, and sensitivity and specificity at thresholds, of every two-class view at every level.

    test, validation: samples, probabilities float32 [n, classes], breasts str [n] (patient and side). views: by name
    ('lesion', 'malignant'), positive classes and all that enter. Levels: 'lesion', one sample each; 'breast' and
    'patient', the highest score of their samples, for a breast shown on films their mean, positive if one of them is.
    The threshold is the lowest score that gives a specificity of 0.80 or 0.90 on the validation split. Measure 'roc':
    the sensitivity where the test split has a specificity of CURVE; its interval is that of the auc. Frame:
    operating_points; question 'detection' or 'diagnosis'; value null with a reason: 'no_samples', 'no_other_class', or
    'no_validation_samples' where no threshold is known.
    """
    frames = []
    for name, view in views.items():
        question = "detection" if name == "lesion" else "diagnosis"
        for level in ("lesion", "breast", "patient"):
            units, tuning = _units(*test, view, level), _units(*validation, view, level)
            frames.append(_of_level(units, tuning, {"question": question, "level": level}, resamples, confidence, seed))
    return pl.concat(frames) if frames else pl.DataFrame(schema=FRAMES["operating_points"])


def _units(
    samples: SampleArrays, probabilities: NDArray[np.float32], breasts: NDArray[np.str_], view: View, level: str
) -> _Units:
    """The samples of the view as they are, or joined by breast or patient."""
    positive, among = view
    inside = np.isin(samples.labels, among)
    score = conditional(probabilities, positive, among)[inside]
    truth, patients = np.isin(samples.labels, positive)[inside], samples.patients[inside]
    if level == "lesion":
        return _Units(score, truth, patients)
    names = patients if level == "patient" else breasts[inside]
    _, first, member = np.unique(names, return_index=True, return_inverse=True)
    highest, positive_one = np.full(len(first), -np.inf, dtype=np.float32), np.zeros(len(first), dtype=np.bool_)
    np.maximum.at(highest, member, score)
    if level == "breast" and samples.breasts is not None:
        highest = (np.bincount(member, score) / np.bincount(member)).astype(np.float32)
    np.logical_or.at(positive_one, member, truth)
    return _Units(highest, positive_one, patients[first])


def threshold(scores: NDArray[np.float32], specificity: float) -> float | None:
    """The lowest score above which at most 1 - specificity of negatives lie: {score > threshold} is positive.

    scores float32 [n] of negatives; None where there are none.

    >>> round(threshold(np.array([0.1, 0.2, 0.3, 0.4, 0.9], dtype=np.float32), 0.8), 6)
    0.4
    """
    if not len(scores):
        return None
    needed = int(np.ceil(specificity * len(scores) - 1e-9))
    return float(np.sort(scores)[max(needed, 1) - 1])


def _of_level(units: _Units, tuning: _Units, key: Key, resamples: int, confidence: float, seed: int) -> pl.DataFrame:
    clusters = draw(units.patients, resamples, np.random.default_rng(seed))
    sides = clusters.patients(np.stack([units.truth, ~units.truth], axis=1)).min()
    resampled = resampled_auc(units.score, units.truth, clusters)[:, None]
    low, high = proportion_interval(resampled, confidence, sides)
    schema = FRAMES["operating_points"]
    value, count = np.array([area(units.score, units.truth)]), np.array([len(units.score)])
    frames = [score_frame(schema, [key | {"measure": "auc"}], value, low, high, count), _curve(units, key)]
    for wanted in SPECIFICITIES:
        level = threshold(tuning.score[~tuning.truth], wanted)
        called = np.zeros(len(units.score), dtype=np.bool_) if level is None else units.score > level
        known = np.full(len(called), level is not None)
        at: Key = key | {"at": wanted, "threshold": level}
        found = means(
            [
                Mean(at | {"measure": "sensitivity"}, called.astype(np.float64), units.truth & known),
                Mean(at | {"measure": "specificity"}, (~called).astype(np.float64), ~units.truth & known),
            ],
            clusters,
            confidence,
        ).frame(schema)
        if level is None:
            found = found.with_columns(reason=pl.lit("no_validation_samples"))
        frames.append(found)
    return pl.concat(frames)


def _curve(units: _Units, key: Key) -> pl.DataFrame:
    """Rows of measure 'roc'; none where a side is empty."""
    if units.truth.all() or not units.truth.any():
        return pl.DataFrame(schema=FRAMES["operating_points"])
    reached = sensitivities(units.score, units.truth, np.array(CURVE))
    rows = [
        dict.fromkeys(FRAMES["operating_points"]) | key
        | {"measure": "roc", "at": at, "value": float(value), "n": len(units.score)}
        for at, value in zip(CURVE, reached, strict=True)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=FRAMES["operating_points"])


def sensitivities(
    score: NDArray[np.float32] | NDArray[np.float64], truth: NDArray[np.bool_], specificities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The ROC curve: the highest sensitivity at each specificity float64 [k], straight between its corners.

    score [n], truth bool [n] with both sides.

    >>> scores, truth = np.array([0.9, 0.8, 0.4, 0.3]), np.array([True, False, True, False])
    >>> sensitivities(scores, truth, np.array([1.0, 0.5, 0.25, 0.0])).tolist()
    [0.5, 1.0, 1.0, 1.0]
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # ties are passed together
    true_rate, false_rate = (np.append(0.0, np.cumsum(side[order])[last] / side.sum()) for side in (truth, ~truth))
    found: NDArray[np.float64] = np.interp(np.round(1 - specificities, 10), false_rate, true_rate)
    return found


def area(score: NDArray[np.float32] | NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """AUC of scores [n] for truth bool [n], ties counting half; NaN where a side is empty.

    >>> area(np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    rank_sum = rankdata(score)[truth].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def breasts(samples: SampleArrays, attributes: pl.DataFrame) -> NDArray[np.str_]:
    """Patient and side of every sample, str [n]; the patient alone where the side is not known."""
    found = pl.DataFrame({"sample_id": samples.ids}).join(attributes, on="sample_id", how="left", maintain_order="left")
    known = found["laterality"].fill_null("").to_list() if "laterality" in found.columns else [""] * len(samples.ids)
    return np.array([f"{patient} {side}" for patient, side in zip(samples.patients, known, strict=True)], dtype=np.str_)
