"""Do the probabilities mean what they say? Expected calibration error and the reliability curve."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_calibration_error

from lesionlens.evaluation.bootstrap import Clusters, interval

BINS = 15  # Guo et al. 2017


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """error: expected calibration error in [0, 1] with its interval low..high.

    curve: one row per bin of the predicted class's probability: bin, low, high (its edges), confidence (mean
    probability), accuracy, n; confidence and accuracy null in an empty bin.
    """

    error: float
    low: float
    high: float
    curve: pl.DataFrame


def calibration(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], clusters: Clusters, confidence: float
) -> Calibration:
    """Calibration of the predicted class's probability in 15 bins of equal width (Naeini et al. 2015).

    probabilities float32 [n, classes]; labels int64 [n]; n > 0. The error of a sample of finite size is biased
    upwards, and so is its bootstrap interval: it compares models on the same samples, it does not prove calibration.
    """
    top = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    edges = np.linspace(0, 1, BINS + 1, dtype=np.float32)
    member = np.clip(np.searchsorted(edges, top, side="right") - 1, 0, BINS - 1)
    cells = np.zeros((len(labels), 3, BINS))
    rows = np.arange(len(labels))
    cells[rows, 0, member], cells[rows, 1, member], cells[rows, 2, member] = 1, top, correct
    resampled = clusters.sums(cells.reshape(len(labels), -1)).reshape(-1, 3, BINS)
    errors = np.abs(resampled[:, 1] - resampled[:, 2]).sum(axis=1) / resampled[:, 0].sum(axis=1)
    low, high = interval(errors[:, None], confidence)
    error = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), probabilities.shape[1], n_bins=BINS, norm="l1"
    )
    return Calibration(float(error), float(low[0]), float(high[0]), _curve(cells.sum(axis=0), edges))


def _curve(totals: NDArray[np.float64], edges: NDArray[np.float32]) -> pl.DataFrame:
    count = totals[0]
    with np.errstate(invalid="ignore"):
        confidence, accuracy = totals[1] / count, totals[2] / count
    return pl.DataFrame(
        {
            "bin": np.arange(BINS),
            "low": edges[:-1].astype(np.float64),
            "high": edges[1:].astype(np.float64),
            "confidence": confidence,
            "accuracy": accuracy,
            "n": count.astype(np.int64),
        }
    ).with_columns(pl.col("confidence", "accuracy").fill_nan(None))
