"""Temperature scaling: one number by which logits are divided, fitted on the validation split."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from lesionlens.frames import FRAMES

WIDEST = np.log(100.0)  # temperatures from 1/100 to 100
SMALLEST = 1e-30


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
