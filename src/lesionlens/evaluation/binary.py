"""Two-class views of the same predictions: malignant against the other lesions, lesion against background."""

from collections.abc import Collection

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc

from lesionlens.evaluation.auc import resampled_auc
from lesionlens.evaluation.bootstrap import Clusters, interval, ratios

SCORES = ("accuracy", "sensitivity", "specificity")


def binary_scores(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    positive: Collection[int],
    among: Collection[int],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """auc, accuracy, sensitivity and specificity of `positive` classes against the rest of the classes `among`.

    Samples of other classes do not enter; probabilities of other classes do not either: the score of a sample is its
    probability of a positive class given that it is of a class `among`, and it counts as positive above 0.5. Result:
    name, value, low, high, n, reason ('no_samples', 'no_other_class'). Raises ValueError where `positive` is not a
    proper part of `among`.
    """
    if not set(positive) or not set(positive) < set(among):
        raise ValueError(
            f"binary view: the positive classes {sorted(positive)} must be some of {sorted(among)}, not all"
        )
    inside = np.isin(labels, list(among))
    truth = np.isin(labels, list(positive))
    part = probabilities[:, list(positive)].sum(axis=1, dtype=np.float64)
    whole = probabilities[:, list(among)].sum(axis=1, dtype=np.float64)
    score = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0).astype(np.float32)
    right = ((score > 0.5) == truth).astype(np.float64)
    used = np.stack([inside, inside & truth, inside & ~truth], axis=1)
    values = np.repeat(right[:, None], 3, axis=1)
    count = used.sum(axis=0)
    mean = np.divide((values * used).sum(axis=0), count, out=np.full(3, np.nan), where=count > 0)
    low, high = interval(ratios(values, used, clusters), confidence)
    within = Clusters(clusters.member[inside], clusters.counts)
    area = resampled_auc(score[inside], truth[inside], within)
    area_low, area_high = interval(area[:, None], confidence)
    value = np.concatenate([[_auc(score[inside], truth[inside])], mean])
    frame = pl.DataFrame({"name": ["auc", *SCORES], "value": value, "n": np.concatenate([[count[0]], count])})
    frame = frame.with_columns(low=np.concatenate([area_low, low]), high=np.concatenate([area_high, high]))
    empty = pl.when(pl.col("n") == 0).then(pl.lit("no_samples")).otherwise(pl.lit("no_other_class"))
    return frame.select(
        "name",
        pl.col("value", "low", "high").fill_nan(None),
        "n",
        pl.when(pl.col("value").is_nan()).then(empty).alias("reason"),
    )


def _auc(score: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    if not truth.any() or truth.all():
        return float("nan")
    return float(binary_auroc(torch.from_numpy(score), torch.from_numpy(truth.astype(np.int64)), thresholds=None))
