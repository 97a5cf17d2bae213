"""One model's scores on its own test split and on another data set, and their difference."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.scoring.bootstrap import Clusters, draw, interval, proportion_interval, ratios, resampled_auc
from lesionlens.scoring.classification import class_auc, mean_defined

ROUNDING = 1e-12


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
