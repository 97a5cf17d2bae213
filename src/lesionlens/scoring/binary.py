"""Two-class views of the same predictions: malignant against the other lesions, lesion against background."""

from collections.abc import Collection

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc

from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, proportion_interval, resampled_auc
from lesionlens.scoring.means import Mean, means, score_frame
from lesionlens.scoring.run_scores import RUN_SCORES, score_key

# What a pathology begins with, in capitals, as CBIS-DDSM and most pathology reports word it.
MALIGNANT, BENIGN = "MALIGNANT", "BENIGN"


def binary_views(patches: SampleArrays, attributes: pl.DataFrame) -> dict[str, tuple[list[int], list[int]]]:
    """The views that the data set has: by name, positive label ordinals, and those among which they are told apart.

    lesion: classes with lesions against those without. malignant: classes all of whose lesions are malignant against
    those all of whose lesions are benign, by attributes' pathology (sample_id, pathology); only where every class with
    lesions is one or the other. Classes without a patch do not enter. A view without two sides is left out.
    """
    present = {int(label) for label in np.unique(patches.labels)}
    lesion = {int(label) for label in np.unique(patches.labels[patches.has_mask])}
    views = {}
    if lesion and present - lesion:
        views["lesion"] = (sorted(lesion), sorted(present))
    malignant = {label for label in lesion if _all_begin(patches, attributes, label, MALIGNANT)}
    benign = {label for label in lesion if _all_begin(patches, attributes, label, BENIGN)}
    if malignant and benign and malignant | benign == lesion:
        views["malignant"] = (sorted(malignant), sorted(lesion))
    return views


def _all_begin(patches: SampleArrays, attributes: pl.DataFrame, label: int, word: str) -> bool:
    chosen = pl.Series(patches.ids[(patches.labels == label) & patches.has_mask])
    if "pathology" not in attributes.columns:
        return False
    found = attributes.filter(pl.col("sample_id").is_in(chosen.implode()))["pathology"]
    return bool(found.len() and found.str.to_uppercase().str.starts_with(word).fill_null(False).all())


def binary_scores(
    view: str,
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    positive: Collection[int],
    among: Collection[int],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """{view}_auc, _accuracy, _sensitivity and _specificity of `positive` classes against the rest of those `among`.

    Samples of other classes do not enter; probabilities of other classes do not either: the score of a sample is its
    probability of a positive class given that it is of a class `among`, and it counts as positive above 0.5. So
    malignant against benign lesions asks nothing about background: a lesion that is called background with 0.97 counts
    by what the remaining 0.03 say. Rows of RUN_SCORES; reason 'no_samples' or 'no_other_class'. Raises ValueError
    where `positive` is not a proper part of `among`.
    """
    if not set(positive) or not set(positive) < set(among):
        raise ValueError(
            f"binary view {view}: the positive classes {sorted(positive)} must be some of {sorted(among)}, not all"
        )
    inside = np.isin(labels, list(among))
    truth = np.isin(labels, list(positive))
    part = probabilities[:, list(positive)].sum(axis=1, dtype=np.float64)
    whole = probabilities[:, list(among)].sum(axis=1, dtype=np.float64)
    score = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0).astype(np.float32)
    right = ((score > 0.5) == truth).astype(np.float64)
    sides = {"accuracy": inside, "sensitivity": inside & truth, "specificity": inside & ~truth}
    shares = means([Mean(score_key(f"{view}_{n}"), right, used) for n, used in sides.items()], clusters, confidence)
    within = Clusters(clusters.member[inside], clusters.counts)
    sides_of = within.patients(np.stack([truth[inside], ~truth[inside]], axis=1))
    low, high = proportion_interval(
        resampled_auc(score[inside], truth[inside], within)[:, None], confidence, sides_of.min()
    )
    area = np.array([_auc(score[inside], truth[inside])])
    count = np.array([int(inside.sum())])
    auc = score_frame([score_key(f"{view}_auc")], area, low, high, count, RUN_SCORES)
    return pl.concat([auc, shares.frame(RUN_SCORES)])


def _auc(score: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    if not truth.any() or truth.all():
        return float("nan")
    return float(binary_auroc(torch.from_numpy(score), torch.from_numpy(truth.astype(np.int64)), thresholds=None))
