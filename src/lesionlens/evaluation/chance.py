"""What calibration error chance alone makes. Without torch: reports compute it from the confidences they show."""

import numpy as np
from numpy.typing import NDArray

BINS = 15  # Guo et al. 2017
EDGES = np.linspace(0, 1, BINS + 1, dtype=np.float32)


def error_by_chance(top: NDArray[np.float32] | NDArray[np.float64]) -> float:
    """The expected calibration error that a perfectly calibrated model of these confidences [n], n > 0, shows.

    Exact, for samples independent of each other: the number of correct samples in a bin is then Poisson binomial, and
    the error the sum over bins of its mean absolute deviation, divided by n.
    """
    member, total = bins(top), 0.0
    for number in np.unique(member):
        right = np.ones(1)  # probability of 0, 1, 2, ... correct samples
        for p in top[member == number].astype(np.float64):
            right = np.append(right, 0.0) * (1 - p) + np.append(0.0, right) * p
        total += float(right @ np.abs(np.arange(len(right)) - top[member == number].sum(dtype=np.float64)))
    return total / len(top)


def bins(top: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each confidence [n], from 0."""
    return np.clip(np.searchsorted(EDGES, top.astype(np.float32), side="right") - 1, 0, BINS - 1)
