"""Paired differences between evaluations on the same samples, by patient, with Holm's correction."""

from collections.abc import Collection, Mapping
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import binom, t, ttest_1samp

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.frames import INTERVAL, Schema
from lesionlens.records import SampleArrays
from lesionlens.scoring.binary import View, conditional
from lesionlens.scoring.bootstrap import Clusters, draw, interval, ratios, resampled_auc
from lesionlens.scoring.operating import area

COMPARISONS: Schema = {
    "evaluation_a": pl.Int64,
    "evaluation_b": pl.Int64,
    "score": pl.String,
    "value_a": pl.Float64,
    "value_b": pl.Float64,
    "difference": pl.Float64,
    **INTERVAL,
    "p": pl.Float64,
    "p_holm": pl.Float64,
    "n": pl.Int64,
}
ROUNDING = 1e-12  # what sums of IoU differences may be off by, many times over


def compare(samples: pl.DataFrame, selected: Collection[int], evaluation: EvaluationConfig, seed: int) -> pl.DataFrame:
    """Every two evaluations, by accuracy and by LL, on the samples that both have.

    samples: evaluation_id, sample_id, patient, is_lesion, correct, iou (null where there is none). Result columns:
    evaluation_a < evaluation_b, score ('accuracy' or 'll'), value_a, value_b, difference (a - b), low, high, p,
    p_holm, n. accuracy: all samples, p by `mcnemar`. ll: mean IoU over the lesions that both classify correctly, since
    means over different samples can't be compared; p by `t_test`. Both take patients as independent, not their
    samples, as the interval does. Holm's correction runs, for each score, over the pairs of `selected` evaluations,
    whose selection must not depend on these samples; of any other pair, over all pairs. Pairs whose common samples are
    of fewer than two patients are left out.
    """
    rows = []
    drawn: dict[bytes, Clusters] = {}  # evaluations of one sample set share their patients, and so their resamples
    identities = sorted(samples["evaluation_id"].unique().to_list())
    frames = {i: samples.filter(pl.col("evaluation_id") == i).drop("evaluation_id") for i in identities}
    for a, b in combinations(identities, 2):
        both = frames[a].join(frames[b], on="sample_id", suffix="_b").sort("sample_id")
        if both["patient"].n_unique() < 2:
            continue
        patients = both["patient"].to_numpy().astype(np.str_)
        key = patients.tobytes()
        if key not in drawn:
            drawn = {key: draw(patients, evaluation.resamples, np.random.default_rng(seed))}
        clusters = drawn[key]
        rows.append({"evaluation_a": a, "evaluation_b": b} | _accuracy(both, clusters, evaluation.confidence))
        located = _localization(both, clusters, evaluation.confidence)
        if located:
            rows.append({"evaluation_a": a, "evaluation_b": b} | located)
    frame = pl.DataFrame(rows, schema={name: kind for name, kind in COMPARISONS.items() if name != "p_holm"})
    corrected = [_corrected(part, selected) for part in frame.partition_by("score", maintain_order=True)]
    return pl.concat([pl.DataFrame(schema=COMPARISONS), *(part.select(list(COMPARISONS)) for part in corrected)])


def compare_areas(
    predictions: Mapping[int, NDArray[np.float32]],
    test: SampleArrays,
    views: Mapping[str, View],
    selected: Collection[int],
    evaluation: EvaluationConfig,
    seed: int,
) -> pl.DataFrame:
    """Every two evaluations by the AUC of each two-class view, on the same samples; columns COMPARISONS.

    predictions: probabilities float32 [n, classes] of the test samples, by evaluation; views: as `binary_views` gives.
    score: 'auc_detection' (lesion or not) or 'auc_diagnosis' (malignant or not, given a lesion). Both models of a pair
    are resampled together, by patient; p by `area_test`. Holm's correction as in `compare`. A view in which a side has
    fewer than two patients is left out.
    """
    frames = [pl.DataFrame(schema=COMPARISONS)]
    for name, (positive, among) in views.items():
        inside = np.isin(test.labels, among)
        truth = np.isin(test.labels, positive)[inside]
        clusters = draw(test.patients[inside], evaluation.resamples, np.random.default_rng(seed))
        sides = int(clusters.patients(np.stack([truth, ~truth], axis=1)).min())
        if sides < 2:
            continue
        score = "auc_detection" if name == "lesion" else "auc_diagnosis"
        scores = {n: conditional(found[inside], positive, among) for n, found in sorted(predictions.items())}
        areas = {n: area(found, truth) for n, found in scores.items()}
        drawn = {n: resampled_auc(found, truth, clusters) for n, found in scores.items()}
        rows = []
        for a, b in combinations(areas, 2):
            gap, resampled = areas[a] - areas[b], drawn[a] - drawn[b]
            low, high = interval(resampled[:, None], evaluation.confidence, sides, lowest=-1.0)
            row = {"evaluation_a": a, "evaluation_b": b, "score": score, "value_a": areas[a], "value_b": areas[b]}
            row |= {"difference": gap, "low": float(low[0]), "high": float(high[0]), "n": len(truth)}
            rows.append(row | {"p": area_test(gap, resampled, sides)})
        frame = pl.DataFrame(rows, schema={column: kind for column, kind in COMPARISONS.items() if column != "p_holm"})
        frames.append(_corrected(frame, selected).select(list(COMPARISONS)))
    return pl.concat(frames)


def compare_breasts(
    first: pl.DataFrame, second: pl.DataFrame, evaluation: EvaluationConfig, seed: int
) -> dict[str, float | int] | None:
    """AUC of malignant breasts by the scores `first` minus that by `second`, over the breasts that both have.

    Columns patient, laterality, label ('malignant' or 'benign'), score; a breast whose side is unknown does not enter.
    Both are resampled together, by patient. Keys value_a, value_b, difference, low, high, p, n; None where a side has
    fewer than two patients, which give no interval.
    """
    both = first.join(second, on=["patient", "laterality"], suffix="_b").sort("patient", "laterality")
    truth, patients = (both["label"] == "malignant").to_numpy(), both["patient"].to_numpy().astype(np.str_)
    if not len(truth):
        return None
    clusters = draw(patients, evaluation.resamples, np.random.default_rng(seed))
    sides = int(clusters.patients(np.stack([truth, ~truth], axis=1)).min())
    if sides < 2:
        return None
    scores = [both[name].to_numpy().astype(np.float32) for name in ("score", "score_b")]
    a, b = (area(score, truth) for score in scores)
    drawn_a, drawn_b = (resampled_auc(score, truth, clusters) for score in scores)
    low, high = interval((drawn_a - drawn_b)[:, None], evaluation.confidence, sides, lowest=-1.0)
    ends = {"low": float(low[0]), "high": float(high[0]), "p": area_test(a - b, drawn_a - drawn_b, sides)}
    return {"value_a": a, "value_b": b, "difference": a - b, "n": len(truth)} | ends


def _corrected(pairs: pl.DataFrame, selected: Collection[int]) -> pl.DataFrame:
    p = pairs["p"].to_numpy()
    chosen = np.isin(pairs.select("evaluation_a", "evaluation_b").to_numpy(), list(selected)).all(axis=1)
    p_holm = holm(p)
    p_holm[chosen] = holm(p[chosen])
    return pairs.with_columns(p_holm=pl.Series(p_holm, dtype=pl.Float64))


def _accuracy(both: pl.DataFrame, clusters: Clusters, confidence: float) -> dict[str, object]:
    right = both.select("correct", "correct_b").cast(pl.Float64).to_numpy()
    used = np.ones(both.height, dtype=np.bool_)
    surplus = np.bincount(clusters.member, weights=right[:, 0] - right[:, 1]).astype(np.int64)
    return {"score": "accuracy", "p": mcnemar(surplus)} | _difference(right, used, clusters, confidence)


def _localization(both: pl.DataFrame, clusters: Clusters, confidence: float) -> dict[str, object]:
    used = both.select(
        (pl.col("is_lesion") & pl.col("correct") & pl.col("correct_b")).fill_null(False)
        & pl.col("iou").is_not_null()
        & pl.col("iou_b").is_not_null()
    )
    chosen = used.to_series().to_numpy()
    members = np.unique(clusters.member[chosen])
    if len(members) < 2:
        return {}
    values = both.select("iou", "iou_b").fill_null(0.0).to_numpy()
    gap = np.where(chosen, values[:, 0] - values[:, 1], 0.0)
    sums = np.bincount(clusters.member, weights=gap)[members]
    return {"score": "ll", "p": t_test(sums)} | _difference(values, chosen, clusters, confidence)


def _difference(
    values: NDArray[np.float64], used: NDArray[np.bool_], clusters: Clusters, confidence: float
) -> dict[str, object]:
    """Means of two columns [n, 2] over the samples used, their difference and its interval."""
    first, second = values[used].mean(axis=0)
    gap = (values[:, 0] - values[:, 1])[:, None]
    resampled = ratios(gap, used[:, None], clusters)
    low, high = interval(resampled, confidence, clusters.patients(used[:, None]), lowest=-1.0)
    found = {"value_a": first, "value_b": second, "difference": first - second, "low": low[0], "high": high[0]}
    return {"n": int(used.sum())} | {name: float(value) for name, value in found.items()}


def mcnemar(surplus: NDArray[np.int64]) -> float:
    """Exact two-sided McNemar test that two classifiers err equally often, exchanged by patient.

    surplus int64 [patients]: a patient's samples that only the first got right, minus those that only the second did.
    If both classifiers are equally good, exchanging their answers to all samples of a patient is as likely: every
    surplus could have the other sign. p is the proportion of all choices of signs whose sum is at least as far from 0.
    With one sample per patient this is the exact binomial test of McNemar (1947); with more, that test would take
    samples of one patient for independent, and reject too often.

    >>> round(mcnemar(np.array([1, 1, 1, 1, 1, 0])), 6)  # two of 2 ** 5 choices of signs are as far from 0
    0.0625
    """
    proportions = np.ones(1)  # of the sums 0, 1, ... of the surpluses that are positive
    for size, patients in zip(*np.unique(np.abs(surplus[surplus != 0]), return_counts=True), strict=True):
        step = np.zeros(size * patients + 1)
        step[::size] = binom.pmf(np.arange(patients + 1), patients, 0.5)
        proportions = np.convolve(proportions, step)
    sums = 2 * np.arange(len(proportions)) - np.abs(surplus).sum()
    return min(1.0, float(proportions[np.abs(sums) >= abs(surplus.sum())].sum()))


def t_test(sums: NDArray[np.float64]) -> float:
    """Two-sided p of a mean difference of 0, by a one-sample t test of the differences summed by patient.

    sums float64 [patients]: at least two, patients without a sample left out. The mean over samples is 0 exactly where
    the mean of these sums is, and unlike samples, patients are independent. With few patients a t test can give a
    smaller p than their number allows: p is no lower than 2 ** (1 - patients), which exchanging the two models by
    patient gives where all sums have one sign. 1 where no sum differs from 0, or all sums do so by rounding alone.

    >>> t_test(np.array([0.2, 0.2]))
    0.5
    """
    if np.abs(sums).max() <= ROUNDING:
        return 1.0
    least = 2.0 ** (1 - len(sums))
    return least if np.ptp(sums) <= ROUNDING else max(least, float(ttest_1samp(sums, 0.0).pvalue))


def area_test(gap: float, resampled: NDArray[np.float64], patients: int) -> float:
    """Two-sided p of a difference of two AUCs of 0: Student's t with the bootstrap's standard error.

    gap: the difference; resampled float64 [resamples]: the same in resamples of patients, NaN where a side was not
    drawn; patients: of the rarer side. As with an interval of few patients the deviation of the resamples is widened by
    n / (n - 1), and no p is below 2 ** (1 - patients). 1 where no resample differs.

    >>> round(area_test(0.2, np.array([0.1, 0.3, 0.1, 0.3]), 9), 3)  # t = 1.89 at 8 degrees of freedom
    0.096
    """
    defined = resampled[~np.isnan(resampled)]
    if not len(defined) or np.ptp(defined) <= ROUNDING:
        return 1.0
    error = float(np.std(defined)) * (patients / (patients - 1)) ** 0.5
    return max(2.0 ** (1 - patients), float(2 * t.sf(abs(gap) / error, patients - 1)))


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down correction (1979): adjusted p float64 [n], in the order given.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    steps = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
