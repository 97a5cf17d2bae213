"""Are two evaluations different? Paired differences on the same samples, by patient, with Holm's correction."""

from itertools import combinations
from math import comb

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import DataType

from lesionlens.config import EvaluationConfig
from lesionlens.evaluation.bootstrap import Clusters, draw, interval, ratios

COMPARISONS: dict[str, DataType | type[DataType]] = {
    "evaluation_a": pl.Int64,
    "evaluation_b": pl.Int64,
    "score": pl.String,
    "value_a": pl.Float64,
    "value_b": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
    "n": pl.Int64,
}


def compare(samples: pl.DataFrame, evaluation: EvaluationConfig, seed: int) -> pl.DataFrame:
    """Every two evaluations, by accuracy and by LL, on the patches that both evaluated.

    samples: evaluation_id, patch_id, patient, is_lesion, correct, iou (null where there is none). Result columns:
    evaluation_a < evaluation_b, score ('accuracy' or 'll'), value_a, value_b, difference (a - b), low, high, p,
    p_holm, n. accuracy: all patches, p by the exact McNemar test, which takes patches as independent (the interval
    does not). ll: mean IoU over the lesions that both classified correctly, since means over different samples can't
    be compared; p from the bootstrap. Holm's correction runs over all pairs of one score. Pairs whose common samples
    are of fewer than two patients are left out: nothing can be said of their difference.
    """
    rows = []
    identities = sorted(samples["evaluation_id"].unique().to_list())
    frames = {i: samples.filter(pl.col("evaluation_id") == i).drop("evaluation_id") for i in identities}
    for a, b in combinations(identities, 2):
        both = frames[a].join(frames[b], on="patch_id", suffix="_b").sort("patch_id")
        if both["patient"].n_unique() < 2:
            continue
        clusters = draw(both["patient"].to_numpy(), evaluation.resamples, np.random.default_rng(seed))
        rows.append({"evaluation_a": a, "evaluation_b": b} | _accuracy(both, clusters, evaluation.confidence))
        located = _localisation(both, clusters, evaluation.confidence)
        if located:
            rows.append({"evaluation_a": a, "evaluation_b": b} | located)
    frame = pl.DataFrame(rows, schema={name: kind for name, kind in COMPARISONS.items() if name != "p_holm"})
    corrected = [
        part.with_columns(p_holm=pl.Series(holm(part["p"].to_numpy()), dtype=pl.Float64))
        for part in frame.partition_by("score", maintain_order=True)
    ]
    return pl.concat([pl.DataFrame(schema=COMPARISONS), *(part.select(list(COMPARISONS)) for part in corrected)])


def _accuracy(both: pl.DataFrame, clusters: Clusters, confidence: float) -> dict[str, object]:
    right = both.select("correct", "correct_b").cast(pl.Float64).to_numpy()
    used = np.ones(both.height, dtype=np.bool_)
    only_a, only_b = int((right[:, 0] > right[:, 1]).sum()), int((right[:, 1] > right[:, 0]).sum())
    difference, _ = _difference(right, used, clusters, confidence)
    return {"score": "accuracy"} | difference | {"p": mcnemar(only_a, only_b)}


def _localisation(both: pl.DataFrame, clusters: Clusters, confidence: float) -> dict[str, object]:
    used = both.select(
        (pl.col("is_lesion") & pl.col("correct") & pl.col("correct_b")).fill_null(False)
        & pl.col("iou").is_not_null()
        & pl.col("iou_b").is_not_null()
    )
    chosen = used.to_series().to_numpy()
    if both.filter(chosen)["patient"].n_unique() < 2:
        return {}
    values = both.select("iou", "iou_b").fill_null(0.0).to_numpy()
    difference, p = _difference(values, chosen, clusters, confidence)
    return {"score": "ll"} | difference | {"p": p}


def _difference(
    values: NDArray[np.float64], used: NDArray[np.bool_], clusters: Clusters, confidence: float
) -> tuple[dict[str, object], float]:
    """Means of two columns [n, 2], their difference, its interval and its two-sided bootstrap p.

    p: twice the smaller share of resamples on either side of 0, counting one more (Davison and Hinkley 1997, 4.4).
    """
    first, second = values[used].mean(axis=0)
    gap = (values[:, 0] - values[:, 1])[:, None]
    resampled = ratios(gap, used[:, None], clusters)
    low, high = interval(resampled, confidence, clusters.patients(used[:, None]))
    defined = resampled[~np.isnan(resampled)]
    smaller = min((defined <= 0).sum(), (defined >= 0).sum())
    p = min(1.0, 2 * (float(smaller) + 1) / (len(defined) + 1))
    found = {"value_a": first, "value_b": second, "difference": first - second, "low": low[0], "high": high[0]}
    rounded: dict[str, object] = {name: float(value) for name, value in found.items()}
    return rounded | {"n": int(used.sum())}, p


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p that two classifiers err equally often, from the samples that only one got right."""
    discordant = only_a + only_b
    tail = sum(comb(discordant, k) for k in range(min(only_a, only_b) + 1))
    return float(min(1.0, 2 * tail / 2**discordant))


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down correction (1979): adjusted p float64 [n], in the order given."""
    order = np.argsort(p, kind="stable")
    steps = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
