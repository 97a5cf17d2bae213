"""Differences between evaluations: paired on the same samples, by patient, and of one model between two data sets."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import binom, ttest_1samp

from lesionlens.config import EvaluationConfig
from lesionlens.frames import INTERVAL, Schema
from lesionlens.scoring.bootstrap import Clusters, draw, interval, proportion_interval, ratios, resampled_auc
from lesionlens.scoring.classification import class_auc, mean_defined

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


@dataclass(frozen=True, slots=True)
class _Scores:
    """One data set's scores float64 [k], in every resample [resamples, k], and what each rests on int64 [k]."""

    value: NDArray[np.float64]
    resampled: NDArray[np.float64]
    n: NDArray[np.int64]
    patients: NDArray[np.int64]


SET_MEASURES = ("accuracy", "balanced_accuracy", "auc", "ll", "hit_rate")
ARE_PROPORTIONS = np.array([True, True, False, False, True])


def between_sets(
    internal: pl.DataFrame, external: pl.DataFrame, classes: tuple[str, ...], evaluation: EvaluationConfig, seed: int
) -> pl.DataFrame:
    """One model's scores on its own test split and on another data set, and the difference internal - external.

    Frames: patient, code, is_lesion, predicted (class codes), probabilities (in the order of `classes`), iou, hit
    (null where there is none). A row per measure: accuracy; balanced_accuracy (mean recall) and auc (mean one-vs-rest)
    over the classes that both sets hold; ll and hit_rate over correctly classified lesions. Columns: measure,
    internal, external and difference, each with _low and _high, internal_n, internal_patients, external_n,
    external_patients, reason. Patients of the two sets are drawn independently. A difference of two proportions that
    never vary has the interval of Newcombe (1998), from the intervals of both.
    """
    common = [code for code in classes if code in set(internal["code"]) & set(external["code"])]
    found = [
        _set_scores(frame, classes, common, evaluation.resamples, np.random.default_rng([seed, place]))
        for place, frame in enumerate((internal, external))
    ]
    columns: dict[str, object] = {"measure": SET_MEASURES}
    for name, scores in zip(("internal", "external"), found, strict=True):
        low, high = interval(scores.resampled, evaluation.confidence, scores.patients)
        binary = proportion_interval(scores.resampled, evaluation.confidence, np.maximum(scores.patients, 1))
        low, high = (
            np.where(ARE_PROPORTIONS & (scores.patients > 1), a, b) for a, b in zip(binary, (low, high), strict=True)
        )
        columns |= {name: scores.value, f"{name}_low": low, f"{name}_high": high}
        columns |= {f"{name}_n": scores.n, f"{name}_patients": scores.patients}
    frame = pl.DataFrame(columns).with_columns(difference=pl.col("internal") - pl.col("external"))
    fewest = np.minimum(found[0].patients, found[1].patients)
    low, high = interval(found[0].resampled - found[1].resampled, evaluation.confidence, fewest, lowest=-1.0)
    a, a_low, a_high, b, b_low, b_high, gap = (
        frame[name].to_numpy() for name in (*_ends("internal"), *_ends("external"), "difference")
    )
    flat = high - low < ROUNDING
    low = np.where(flat, gap - np.hypot(a - a_low, b_high - b), low)
    high = np.where(flat, gap + np.hypot(a_high - a, b - b_low), high)
    frame = frame.with_columns(difference_low=pl.Series(low), difference_high=pl.Series(high)).fill_nan(None)
    absent = pl.when(pl.col("difference").is_null()).then(pl.lit("no_samples"))
    return frame.with_columns(reason=absent)


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _set_scores(
    frame: pl.DataFrame, classes: tuple[str, ...], common: list[str], resamples: int, generator: np.random.Generator
) -> _Scores:
    """SET_MEASURES of one data set."""
    clusters = draw(frame["patient"].to_numpy().astype(np.str_), resamples, generator)
    codes = frame["code"].to_numpy().astype(np.str_)
    correct = np.equal(codes, frame["predicted"].to_numpy().astype(np.str_))
    located = frame["is_lesion"].to_numpy() & correct
    iou = frame["iou"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    hit = frame["hit"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    member = codes[:, None] == np.array(common, dtype=np.str_)
    values = np.column_stack([correct, iou, hit, *(correct for _ in common)]).astype(np.float64)
    used = np.column_stack([np.ones(len(codes)), located & ~np.isnan(iou), located & ~np.isnan(hit), member]).astype(
        bool
    )
    whole = Clusters(clusters.member, np.ones((1, clusters.counts.shape[1])))
    points, drawn = (ratios(values, used, of) for of in (whole, clusters))
    probabilities = np.array(frame["probabilities"].to_list(), dtype=np.float32).reshape(len(codes), len(classes))
    places = [classes.index(code) for code in common]
    areas = class_auc(probabilities, np.array([classes.index(code) for code in codes], dtype=np.int64))[places]
    each = [resampled_auc(probabilities[:, place], codes == classes[place], clusters) for place in places]
    drawn_areas = np.stack(each, axis=1) if each else np.full((resamples, 0), np.nan)

    def ordered(mean: NDArray[np.float64], auc: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([mean[:, 0], mean_defined(mean[:, 3:]), mean_defined(auc), mean[:, 1], mean[:, 2]])

    of_common = member.any(axis=1)
    basis = np.column_stack([used[:, 0], of_common, of_common, used[:, 1], used[:, 2]])
    return _Scores(
        ordered(points, areas[None])[0], ordered(drawn, drawn_areas), basis.sum(axis=0), clusters.patients(basis)
    )
