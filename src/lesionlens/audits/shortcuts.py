"""Shortcut audit: how well size, aspect, grey values and sharpness alone predict the class."""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lesionlens.config import EvaluationConfig
from lesionlens.frames import INTERVAL, Schema
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import draw, proportion_interval, ratios

CHUNK = 256  # samples in memory as float64 at once

SHORTCUTS: Schema = {"features": pl.String, "accuracy": pl.Float64, **INTERVAL, "n": pl.Int64}


def shortcut_audit(
    samples: SampleArrays, windows: NDArray[np.float64] | None, evaluation: EvaluationConfig, seed: int
) -> pl.DataFrame:
    """Test accuracy of logistic regressions on a few numbers of every sample.

    windows float64 [n, 2]: width and height of each sample's window in full-image pixels, in the samples' order; None
    leaves 'size' out. Trained on the training split, features standardised there. Result: features ('majority', the
    most frequent training class for every sample; 'size': log area and log aspect; 'intensity'; 'sharpness'; 'all'),
    accuracy, low, high (clustered by patient), n. A training split of one class gives the majority alone. Raises
    ValueError where one of the two splits is empty.
    """
    train, test = samples.splits == "train", samples.splits == "test"
    if not train.any() or not test.any():
        raise ValueError("shortcut audit: it needs a training and a test split; check the sample set's split")
    sets = {"intensity": _in_chunks(intensity, samples.pixels), "sharpness": _in_chunks(sharpness, samples.pixels)}
    if windows is not None:
        width, height = np.log(windows[:, 0]), np.log(windows[:, 1])
        sets = {"size": np.stack([width + height, width - height], axis=1)} | sets
    sets["all"] = np.concatenate(list(sets.values()), axis=1)
    labels = samples.labels
    guesses = {"majority": np.full(int(test.sum()), np.bincount(labels[train]).argmax())}
    two_classes = len(np.unique(labels[train])) > 1
    for name, features in sets.items() if two_classes else ():
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        guesses[name] = model.fit(features[train], labels[train]).predict(features[test])
    right = np.stack([guess == labels[test] for guess in guesses.values()], axis=1).astype(np.float64)
    clusters = draw(samples.patients[test], evaluation.resamples, np.random.default_rng(seed))
    everything = np.ones(right.shape, dtype=np.bool_)
    low, high = proportion_interval(
        ratios(right, everything, clusters), evaluation.confidence, clusters.patients(everything)
    )
    columns = {"features": list(guesses), "accuracy": right.mean(axis=0), "low": low, "high": high}
    frame = pl.DataFrame(columns | {"n": [len(right)] * len(guesses)}, schema=SHORTCUTS)
    return frame.with_columns(pl.col("low", "high").fill_nan(None))


def _in_chunks(
    features: Callable[[NDArray[np.uint8]], NDArray[np.float64]], pixels: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Features of all samples, a few at a time: in float64 a whole data set would not fit into memory."""
    return np.concatenate([features(pixels[start : start + CHUNK]) for start in range(0, len(pixels), CHUNK)])


def intensity(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean, standard deviation and the 5th, 25th, 50th, 75th and 95th percentile of grey: [n, 7]."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    return np.column_stack([flat.mean(axis=1), flat.std(axis=1), *np.percentile(flat, (5, 25, 50, 75, 95), axis=1)])


def sharpness(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Log variance of the Laplacian at full and at half resolution: [n, 2]. Upsampled small windows are blurred."""
    full = pixels.astype(np.float64)
    side = full.shape[1] // 2 * 2
    half = full[:, :side, :side].reshape(len(full), side // 2, 2, side // 2, 2).mean(axis=(2, 4))
    return np.column_stack([np.log1p(_laplacian(grey).var(axis=(1, 2))) for grey in (full, half)])


def _laplacian(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    centre = grey[:, 1:-1, 1:-1]
    return grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * centre
