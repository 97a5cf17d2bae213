"""Classification scores per class and over classes, with intervals; AUC from probabilities and from predictions."""

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from lesionlens.frames import CLASS_SCORES, FRAMES
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, proportion_interval, resampled_auc
from lesionlens.scoring.means import OVERALL, Mean, groups, means, score_frame


def classification_scores(
    samples: SampleArrays, probabilities: NDArray[np.float32], clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """accuracy, macro and weighted precision, recall and F1, auc and auc_hard (means over classes); over all samples.

    Accuracy also within every label group. AUC means cover the classes that have one. Frame: run_scores.
    """
    labels = samples.labels
    counts = confusion_matrix(probabilities, labels)
    values = averages(counts)
    resampled = averages(resampled_confusion(probabilities, labels, clusters), drawn_from=counts)
    values["auc"] = mean_defined(class_auc(probabilities, labels))
    resampled["auc"] = mean_defined(_resampled_class_auc(probabilities, labels, clusters))
    names = list(values)
    point = np.array([float(values[name]) for name in names])
    patients = len(np.unique(clusters.member))
    low, high = proportion_interval(np.stack([resampled[name] for name in names], axis=1), confidence, patients)
    keys = [OVERALL | {"name": name} for name in names]
    frame = score_frame(FRAMES["run_scores"], keys, point, low, high, np.full(len(names), len(labels)))
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    key = OVERALL | {"name": "accuracy"}
    within = [Mean(key | {"group_name": group}, correct, used) for group, used in groups(samples).items()]
    return pl.concat([frame, means(within, clusters, confidence).frame(FRAMES["run_scores"])])


def class_scores(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """One row per class: label, precision, recall, f1, support, auc, auc_hard, reason, and intervals of the scores.

    probabilities float32 [n, classes], rows summing to 1; labels int64 [n]. The predicted class is the most probable
    one, the first of several. A class that is never predicted has precision 0; one without samples has recall 0, no
    AUC, and the reason 'no_samples'; one that every sample belongs to has no AUC, and 'no_other_class'. Intervals are
    null where the score is, and where the class, or all others together, are of fewer than two patients.
    """
    classes, count = probabilities.shape[1], len(labels)
    truth, guess = torch.from_numpy(labels), torch.from_numpy(probabilities.argmax(axis=1).astype(np.int64))
    confusion = confusion_matrix(probabilities, labels)
    support = confusion.sum(axis=1)
    columns = {
        "label": np.arange(classes),
        "precision": multiclass_precision(guess, truth, classes, average="none").numpy(),
        "recall": multiclass_recall(guess, truth, classes, average="none").numpy(),
        "f1": multiclass_f1_score(guess, truth, classes, average="none").numpy(),
        "support": support,
        "auc": class_auc(probabilities, labels),
        "auc_hard": auc_hard(confusion),
        "reason": [None if 0 < n < count else ("no_samples" if n == 0 else "no_other_class") for n in support],
        **_class_intervals(probabilities, labels, clusters, confidence),
    }
    return pl.DataFrame(columns, schema=FRAMES["class_scores"]).fill_nan(None)


def _class_intervals(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], clusters: Clusters, confidence: float
) -> dict[str, NDArray[np.float64]]:
    """{score}_low and {score}_high float64 [classes] of `class_scores`; NaN where there is no interval."""
    counts = resampled_confusion(probabilities, labels, clusters)
    auc = _resampled_class_auc(probabilities, labels, clusters)
    resampled = _per_class(counts) | {"auc": auc, "auc_hard": auc_hard(counts)}
    for name in ("recall", "f1"):  # a resample that lacks the class has neither
        resampled[name] = np.where(counts.sum(axis=-1) > 0, resampled[name], np.nan)
    truth = labels[:, None] == np.arange(probabilities.shape[1])
    patients = np.minimum(clusters.patients(truth), clusters.patients(~truth))
    columns: dict[str, NDArray[np.float64]] = {}
    for name in CLASS_SCORES:
        low, high = proportion_interval(resampled[name], confidence, patients)
        columns |= {f"{name}_low": low, f"{name}_high": high}
    return columns


def confusion_matrix(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts int64 [classes, classes]: rows true, columns predicted.

    >>> confusion_matrix(np.eye(2, dtype=np.float32)[[0, 1, 1]], np.array([0, 0, 1])).tolist()
    [[1, 1], [0, 1]]
    """
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


def row_proportions(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Proportions of the true class from confusion counts [..., classes, classes]; NaN in rows without samples."""
    present = confusion.sum(axis=-1, keepdims=True)
    rows: NDArray[np.float64] = np.divide(confusion, present, out=np.full(confusion.shape, np.nan), where=present > 0)
    return rows


def confusion_intervals(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """The intervals of all `row_proportions` of the confusion matrix: label (true), predicted, low, high.

    One row per cell, true classes outside. Null where the true class is of fewer than two patients.
    """
    classes = probabilities.shape[1]
    proportions = row_proportions(resampled_confusion(probabilities, labels, clusters))
    truth, predicted = np.divmod(np.arange(classes * classes), classes)
    patients = clusters.patients(labels[:, None] == truth)
    low, high = proportion_interval(proportions.reshape(-1, classes * classes), confidence, patients)
    columns = {"label": truth, "predicted": predicted, "low": low, "high": high}
    return pl.DataFrame(columns, schema=FRAMES["confusion_intervals"]).fill_nan(None)


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


def _resampled_class_auc(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], clusters: Clusters
) -> NDArray[np.float64]:
    """`class_auc` in every resample of patients: [resamples, classes]."""
    classes = range(probabilities.shape[1])
    return np.stack([resampled_auc(probabilities[:, c], labels == c, clusters) for c in classes], axis=1)


def auc_hard(confusion: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """(recall + specificity) / 2 per class from confusion counts [..., classes, classes]: [..., classes].

    What the study's Table III shows: the area under the ROC curve whose only inner point is the hard prediction. NaN
    where a class has no sample, or every one.

    >>> auc_hard(np.array([[8, 2], [1, 9]])).round(2).tolist()
    [0.85, 0.85]
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
    """Scores over classes from confusion counts [..., classes, classes], all of shape [...].

    accuracy, macro_* and weighted_* precision, recall and f1, auc_hard (mean). As scikit-learn and torchmetrics: 0
    for 0/0, and a class that is neither present nor predicted does not enter the macro mean. drawn_from [classes,
    classes]: the counts that `confusion` is a resample of. A class with samples of which a resample has none does not
    enter its macro mean either: its recall is undefined there, not 0.
    """
    counts = confusion.astype(np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    present, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    per_class = _per_class(counts)
    entering = (present + predicted > 0).astype(np.float64)
    if drawn_from is not None:
        entering *= (present > 0) | (drawn_from.sum(axis=-1) == 0)
    scores = {"accuracy": _proportion(right.sum(axis=-1), present.sum(axis=-1))}
    for kind, weight in (("macro", entering), ("weighted", present)):
        for name, values in per_class.items():
            scores[f"{kind}_{name}"] = _proportion((values * weight).sum(axis=-1), weight.sum(axis=-1))
    scores["auc_hard"] = mean_defined(auc_hard(counts))
    return scores


def _per_class(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """precision, recall and f1 [..., classes] from confusion counts [..., classes, classes]; 0 for 0/0."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    present, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    return {
        "precision": _proportion(right, predicted),
        "recall": _proportion(right, present),
        "f1": _proportion(2 * right, present + predicted),
    }


def mean_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is not NaN; NaN where nothing is.

    >>> mean_defined(np.array([[0.5, np.nan, 1.0], [np.nan] * 3])).tolist()
    [0.75, nan]
    """
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    count = defined.sum(axis=-1)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def _proportion(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
