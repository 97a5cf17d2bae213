"""Calibration of the predicted class's probability: expected calibration error and the reliability curve."""

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from lesionlens.frames import FRAMES
from lesionlens.scoring.bootstrap import Clusters, interval, proportion_interval
from lesionlens.scoring.means import OVERALL, score_frame

WIDEST = np.log(100.0)  # temperatures from 1/100 to 100
SMALLEST = 1e-30

BINS = 15  # Guo et al. 2017
EDGES = np.linspace(0, 1, BINS + 1, dtype=np.float32)


def calibration(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], clusters: Clusters, confidence: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Calibration in 15 bins of equal width (Naeini et al. 2015): rows of the frames run_scores and reliability.

    probabilities float32 [n, classes]; labels int64 [n]; n > 0. First calibration_error, the expected calibration error
    in [0, 1]. That of a finite sample is biased upwards (`calibrated_error` is what even perfect calibration would
    show), and resampled ones are so once more. Its interval is therefore that of the resampled errors less the
    bootstrap estimate of bias, their mean minus the value (Efron and Tibshirani 1993, chapter 10), cut at 0: it lies
    about the value, and has the value's own bias. Then one row per bin from 0: lower, upper (its edges), confidence
    (mean probability), accuracy with its interval low, high, n; all but the edges and n null in an empty bin.
    """
    top = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    member = bins(top)
    cells = np.zeros((len(labels), 3, BINS))
    rows = np.arange(len(labels))
    cells[rows, 0, member], cells[rows, 1, member], cells[rows, 2, member] = 1, top, correct
    resampled = clusters.sums(cells.reshape(len(labels), -1)).reshape(-1, 3, BINS)
    errors = np.abs(resampled[:, 1] - resampled[:, 2]).sum(axis=1) / resampled[:, 0].sum(axis=1)
    # torchmetrics gives a probability of exactly 1 a bin of its own beyond the last one.
    inner = np.minimum(probabilities, np.nextafter(np.float32(1), np.float32(0)))
    error = multiclass_calibration_error(
        torch.from_numpy(inner), torch.from_numpy(labels), probabilities.shape[1], n_bins=BINS, norm="l1"
    )
    shifted = np.maximum(errors - (errors.mean() - float(error)), 0.0)
    low, high = interval(shifted[:, None], confidence, len(np.unique(clusters.member)))
    key, value, count = OVERALL | {"name": "calibration_error"}, np.array([float(error)]), np.array([len(labels)])
    curve = _curve(cells.sum(axis=0), resampled, clusters.patients(cells[:, 0] > 0), confidence)
    return score_frame(FRAMES["run_scores"], [key], value, low, high, count), curve


def bins(top: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each confidence [n], from 0.

    >>> bins(np.array([0.0, 0.5, 1.0])).tolist()
    [0, 7, 14]
    """
    return np.clip(np.searchsorted(EDGES, top.astype(np.float32), side="right") - 1, 0, BINS - 1)


def _curve(
    totals: NDArray[np.float64],
    resampled: NDArray[np.float64],
    patients: NDArray[np.int64],
    confidence: float,
) -> pl.DataFrame:
    """The reliability curve from samples, confidence and correct predictions by bin: totals [3, bins]."""
    count = totals[0]
    with np.errstate(invalid="ignore"):
        mean, accuracy = totals[1] / count, totals[2] / count
        low, high = proportion_interval(resampled[:, 2] / resampled[:, 0], confidence, patients)
    columns = {
        "bin": np.arange(BINS),
        "lower": EDGES[:-1].astype(np.float64),
        "upper": EDGES[1:].astype(np.float64),
        "confidence": mean,
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "n": count.astype(np.int64),
    }
    return pl.DataFrame(columns, schema=FRAMES["reliability"]).fill_nan(None)


def calibrated_error(top: NDArray[np.float32] | NDArray[np.float64]) -> float:
    """The expected calibration error that a perfectly calibrated model of these confidences [n], n > 0, shows.

    Exact, for samples independent of each other: the number of correct samples in a bin is then Poisson binomial, and
    the error the sum over bins of its mean absolute deviation, divided by n.

    >>> calibrated_error(np.array([0.5]))  # right or wrong, one sample is off by 0.5
    0.5
    """
    member, total = bins(top), 0.0
    for number in np.unique(member):
        right = np.ones(1)  # probability of 0, 1, 2, ... correct samples
        for p in top[member == number].astype(np.float64):
            right = np.append(right, 0.0) * (1 - p) + np.append(0.0, right) * p
        total += float(right @ np.abs(np.arange(len(right)) - top[member == number].sum(dtype=np.float64)))
    return total / len(top)


def validation_scores(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> pl.DataFrame:
    """One row (frame validations): loss and accuracy on the validation split; its loss after temperature scaling (Guo
    et al. 2017) and the temperature with which that is lowest.

    probabilities float32 [n, classes]; labels int64 [n]; no row where n is 0. A network that ranks well but is too sure
    of itself has a high loss and a low scaled one: runs are chosen by the latter, as one number per run cannot overfit.
    """
    if not len(labels):
        return pl.DataFrame(schema=FRAMES["validations"])
    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))
    found = minimize_scalar(
        lambda log_t: cross_entropy(logits / np.exp(log_t), labels), bounds=(-WIDEST, WIDEST), method="bounded"
    )
    loss = cross_entropy(logits, labels)
    better = float(found.fun) < loss
    columns = {
        "loss": [loss],
        "scaled_loss": [float(found.fun) if better else loss],
        "temperature": [float(np.exp(found.x)) if better else 1.0],
        "accuracy": [float((probabilities.argmax(axis=1) == labels).mean())],
        "n": [len(labels)],
    }
    return pl.DataFrame(columns, schema=FRAMES["validations"])


def cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy of logits [n, classes] for labels int64 [n].

    >>> round(cross_entropy(np.zeros((3, 2)), np.array([0, 1, 1])), 4)
    0.6931
    """
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
