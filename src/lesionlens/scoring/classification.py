"""Classification scores (protocol section 7): per class and over classes, by torchmetrics, with both kinds of AUC."""

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from polars import DataType
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from lesionlens.frames import FRAMES
from lesionlens.scoring.bootstrap import Clusters, proportion_interval, resampled_auc

CLASS_SCORES: dict[str, DataType | type[DataType]] = {
    "label": pl.Int16,
    "precision": pl.Float64,
    "recall": pl.Float64,
    "f1": pl.Float64,
    "support": pl.Int64,
    "auc": pl.Float64,
    "auc_hard": pl.Float64,
    "reason": pl.String,
}
CONFUSION_INTERVALS = FRAMES["confusion_intervals"]
INTERVALS = ("precision", "recall", "f1", "auc", "auc_hard")


def class_intervals(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """The intervals of `class_scores`, same rows: {score}_low and {score}_high; null where the score is, and where
    the class, or all others together, are of fewer than two patients."""
    classes = probabilities.shape[1]
    counts = resampled_confusion(probabilities, labels, clusters)
    by_class = [resampled_auc(probabilities[:, c], labels == c, clusters) for c in range(classes)]
    resampled = _per_class(counts) | {"auc": np.stack(by_class, axis=1), "auc_hard": auc_hard(counts)}
    for name in ("recall", "f1"):  # a resample that lacks the class says nothing about either
        resampled[name] = np.where(counts.sum(axis=-1) > 0, resampled[name], np.nan)
    truth = labels[:, None] == np.arange(classes)
    patients = np.minimum(clusters.patients(truth), clusters.patients(~truth))
    columns: dict[str, NDArray[np.float64]] = {}
    for name in INTERVALS:
        low, high = proportion_interval(resampled[name], confidence, patients)
        columns |= {f"{name}_low": low, f"{name}_high": high}
    return pl.DataFrame(columns).fill_nan(None)


def class_scores(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> pl.DataFrame:
    """One row per class: label, precision, recall, f1, support, auc, auc_hard, reason.

    probabilities float32 [n, classes], rows summing to 1; labels int64 [n]. The predicted class is the most probable
    one, the first of several. A class that is never predicted has precision 0; one without samples has recall 0, no
    AUC, and the reason 'no_samples'; one that every sample belongs to has no AUC, and 'no_other_class'.
    """
    classes, count = probabilities.shape[1], len(labels)
    truth, guess = torch.from_numpy(labels), torch.from_numpy(probabilities.argmax(axis=1).astype(np.int64))
    confusion = confusion_matrix(probabilities, labels)
    support = confusion.sum(axis=1)
    without = [None if 0 < n < count else ("no_samples" if n == 0 else "no_other_class") for n in support]
    auc = class_auc(probabilities, labels)
    hard = auc_hard(confusion)
    return pl.DataFrame(
        {
            "label": list(range(classes)),
            "precision": multiclass_precision(guess, truth, classes, average="none").tolist(),
            "recall": multiclass_recall(guess, truth, classes, average="none").tolist(),
            "f1": multiclass_f1_score(guess, truth, classes, average="none").tolist(),
            "support": support.tolist(),
            "auc": [float(value) if reason is None else None for value, reason in zip(auc, without, strict=True)],
            "auc_hard": [float(value) if reason is None else None for value, reason in zip(hard, without, strict=True)],
            "reason": without,
        },
        schema=CLASS_SCORES,
    )


def confusion_matrix(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts int64 [classes, classes]: rows true, columns predicted."""
    guess = torch.from_numpy(probabilities.argmax(axis=1).astype(np.int64))
    counts = multiclass_confusion_matrix(guess, torch.from_numpy(labels), probabilities.shape[1])
    matrix: NDArray[np.int64] = counts.numpy().astype(np.int64)
    return matrix


def resampled_confusion(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], clusters: Clusters
) -> NDArray[np.float64]:
    """`confusion_matrix` in every resample of patients: counts [resamples, classes, classes]."""
    count, classes = probabilities.shape
    cells = np.zeros((count, classes * classes))
    cells[np.arange(count), labels * classes + probabilities.argmax(axis=1)] = 1
    return clusters.sums(cells).reshape(-1, classes, classes)


def row_shares(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of the true class from confusion counts [..., classes, classes]; NaN in rows without samples."""
    present = confusion.sum(axis=-1, keepdims=True)
    shares = np.full(confusion.shape, np.nan)
    np.divide(confusion, present, out=shares, where=present > 0)
    return shares


def confusion_intervals(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """The interval of every `row_shares` of the confusion matrix: label (true), predicted, low, high.

    One row per cell, true classes outside. Null where the true class is of fewer than two patients.
    """
    classes = probabilities.shape[1]
    shares = row_shares(resampled_confusion(probabilities, labels, clusters))
    truth, predicted = np.divmod(np.arange(classes * classes), classes)
    patients = clusters.patients(labels[:, None] == truth)
    low, high = proportion_interval(shares.reshape(-1, classes * classes), confidence, patients)
    columns = {"label": truth, "predicted": predicted, "low": low, "high": high}
    return pl.DataFrame(columns, schema=CONFUSION_INTERVALS).fill_nan(None)


def class_auc(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Area under the ROC curve of each class against the rest, float64 [classes]; NaN where one side has no sample."""
    classes = probabilities.shape[1]
    auc = np.full(classes, np.nan)
    for label in range(classes):
        truth = labels == label
        if truth.any() and not truth.all():
            scores = torch.from_numpy(np.ascontiguousarray(probabilities[:, label]))
            auc[label] = float(binary_auroc(scores, torch.from_numpy(truth.astype(np.int64)), thresholds=None))
    return auc


def auc_hard(confusion: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """(recall + specificity) / 2 per class from confusion counts [..., classes, classes]: [..., classes].

    What the study's Table III shows: the area under the ROC curve whose only inner point is the hard prediction. NaN
    where a class has no sample, or every one.
    """
    counts = confusion.astype(np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    positive, total = counts.sum(axis=-1), counts.sum(axis=(-2, -1))[..., None]
    false_positive = counts.sum(axis=-2) - right
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float64] = (right / positive + 1 - false_positive / (total - positive)) / 2
    return result


def averages(
    confusion: NDArray[np.float64] | NDArray[np.int64], drawn_from: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Scores over classes from confusion counts [..., classes, classes], each of shape [...].

    accuracy, macro_* and weighted_* precision, recall and f1, auc_hard (mean). As scikit-learn and torchmetrics: 0
    for 0/0, and a class that is neither present nor predicted does not enter the macro mean. Resamples are told the
    counts [classes, classes] that they were `drawn_from`: a class with samples, of which chance drew none, has no
    recall of 0 there and does not enter the mean either.
    """
    counts = confusion.astype(np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    present, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    per_class = _per_class(counts)
    known = (present + predicted > 0).astype(np.float64)
    if drawn_from is not None:
        known *= (present > 0) | (drawn_from.sum(axis=-1) == 0)
    scores = {"accuracy": _share(right.sum(axis=-1), present.sum(axis=-1))}
    for kind, weight in (("macro", known), ("weighted", present)):
        for name, values in per_class.items():
            scores[f"{kind}_{name}"] = _share((values * weight).sum(axis=-1), weight.sum(axis=-1))
    scores["auc_hard"] = mean_defined(auc_hard(counts))
    return scores


def _per_class(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """precision, recall and f1 [..., classes] from confusion counts [..., classes, classes]; 0 for 0/0."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    present, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    return {
        "precision": _share(right, predicted),
        "recall": _share(right, present),
        "f1": _share(2 * right, present + predicted),
    }


def mean_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    mean = np.full(total.shape, np.nan)
    np.divide(total, defined.sum(axis=-1), out=mean, where=defined.any(axis=-1))
    return mean


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    share = np.zeros(np.shape(whole))
    np.divide(part, whole, out=share, where=whole > 0)
    return share
