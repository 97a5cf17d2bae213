"""Regressions beside the networks: the shortcut audit and the reference.

The audit asks how well grey values and sharpness outside the annotation, or the window's size, tell the class. The
reference asks how well the network's first weights do, without training: a network that is not better has learnt
nothing that they did not bring along.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.frames import INTERVAL, Schema
from lesionlens.localization.samples import scorable
from lesionlens.models.arithmetic import float32
from lesionlens.models.classifier import Classifier, together
from lesionlens.records import SampleArrays
from lesionlens.samples.filling import enlarged, grown_hulls
from lesionlens.scoring.binary import View
from lesionlens.scoring.bootstrap import Clusters, draw, proportion_interval, ratios, resampled_auc
from lesionlens.scoring.calibration import validation_scores
from lesionlens.training.inputs import Inputs

MARGIN = 0.1  # of the annotation's diameter, as in the occlusion test

SHORTCUTS: Schema = {
    "features": pl.String, "question": pl.String, "accuracy": pl.Float64, "auc": pl.Float64, **INTERVAL, "n": pl.Int64,
}  # fmt: skip
Row = dict[str, Any]


def shortcut_audit(
    samples: SampleArrays,
    windows: NDArray[np.float64] | None,
    views: Mapping[str, View],
    evaluation: EvaluationConfig,
    seed: int,
) -> pl.DataFrame:
    """What logistic regressions on a few numbers of every sample make of the test split, by features and question.

    windows float64 [n, 2]: width and height of each sample's window in full-image pixels, in the samples' order; None
    leaves 'size' out. views: as `binary_views` gives them. Trained on the training split, features standardised there.
    Features: 'intensity' and 'sharpness' of what lies outside the annotation's grown hull (`outside`), 'surroundings'
    (both), and apart from them 'size' (log area and log aspect of the window). Questions: 'class', all classes, with
    accuracy, beside 'majority', the most frequent training class for every sample; 'detection' (view lesion) and
    'diagnosis' (view malignant), with the AUC among the samples that enter. low, high clustered by patient. A question
    with one side in the training split has no row. Raises ValueError where one of the two splits is empty.
    """
    train, test = samples.splits == "train", samples.splits == "test"
    if not train.any() or not test.any():
        raise ValueError("shortcut audit: it needs a training and a test split; check the sample set's split")
    sets = _features(samples, windows, seed)
    clusters = draw(samples.patients[test], evaluation.resamples, np.random.default_rng(seed))
    labels = samples.labels
    majority = np.full(int(test.sum()), np.bincount(labels[train]).argmax())
    rows = [_accuracy("majority", majority == labels[test], clusters, evaluation.confidence)]
    for name, features in sets.items():
        if len(np.unique(labels[train])) > 1:
            right = _fitted(features[train], labels[train]).predict(features[test]) == labels[test]
            rows.append(_accuracy(name, right, clusters, evaluation.confidence))
        for view, (positive, among) in views.items():
            inside, truth = np.isin(labels, among), np.isin(labels, positive)
            if len(np.unique(truth[train & inside])) > 1:
                model = _fitted(features[train & inside], truth[train & inside])
                score = model.predict_proba(features[test])[:, 1].astype(np.float32)
                question = "detection" if view == "lesion" else "diagnosis"
                key = {"features": name, "question": question}
                rows += _auc(key, score, truth[test], inside[test], clusters, evaluation.confidence)
    return pl.DataFrame(rows, schema=SHORTCUTS).with_columns(pl.col("low", "high").fill_nan(None))


PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of the reference's penalty, C, of which validation loss chooses one."""


def block_means(model: Classifier, inputs: Inputs, stored: Tensor | None = None) -> NDArray[np.float32]:
    """Means over the cells of what unit2 gives, float32 [positions of the inputs, channels]. stored: the features."""
    count = len(inputs)
    size = together(32, inputs.patches.pixels.shape)
    frozen = model.to(inputs.device).eval().to(memory_format=torch.channels_last)
    found = []
    with torch.no_grad(), float32():
        for rows in torch.split(torch.arange(count), size):
            features = frozen.to_level("unit2", inputs(rows)) if stored is None else stored[rows]
            found.append(features.mean(dim=(2, 3)).cpu().numpy())
    return np.concatenate(found)


def reference(
    means: NDArray[np.float32], samples: SampleArrays, of: NDArray[np.int64]
) -> tuple[NDArray[np.float32], float] | None:
    """Probabilities float32 [t, classes] of the test split by a penalised logistic regression, and its C.

    means [n + k, d]: of the n samples, and of k variants of training samples, `of` int64 [k] which. Trained on training
    samples and their variants, standardised there; C is that of PENALTIES with the lowest validation loss after
    temperature scaling, as runs of networks are chosen. None where training has one class, or the validation split is
    empty.
    """
    splits, labels = (np.concatenate([each, each[of]]) for each in (samples.splits, samples.labels))
    validation, test = (np.flatnonzero(samples.splits == name) for name in ("validation", "test"))
    train = np.flatnonzero(splits == "train")
    if len(np.unique(labels[train])) < 2 or not len(validation):
        return None
    scaler = StandardScaler().fit(means[train])
    inside = scaler.transform(means[train])
    best, found = np.inf, None
    for penalty in PENALTIES:
        model = LogisticRegression(C=penalty, max_iter=2000).fit(inside, labels[train])

        def told(rows: NDArray[np.int64], model: LogisticRegression = model) -> NDArray[np.float32]:
            whole = np.zeros((len(rows), len(samples.classes)), dtype=np.float32)
            whole[:, model.classes_] = model.predict_proba(scaler.transform(means[rows]))
            return whole

        loss = float(validation_scores(told(validation), samples.labels[validation])["scaled_loss"][0])
        if loss < best:
            best, found = loss, (told(test), penalty)
    return found


def _fitted(features: NDArray[np.float64], labels: NDArray[np.int64] | NDArray[np.bool_]) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features, labels)


def _accuracy(name: str, right: NDArray[np.bool_], clusters: Clusters, confidence: float) -> Row:
    values, used = right.astype(np.float64)[:, None], np.ones((len(right), 1), dtype=np.bool_)
    low, high = proportion_interval(ratios(values, used, clusters), confidence, clusters.patients(used))
    ends = {"low": float(low[0]), "high": float(high[0]), "n": len(right)}
    return {"features": name, "question": "class", "accuracy": float(right.mean())} | ends


def _auc(
    key: Row,
    score: NDArray[np.float32],
    truth: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    clusters: Clusters,
    confidence: float,
) -> list[Row]:
    """One row; none where a side has no test sample."""
    score, truth = score[inside], truth[inside]
    if truth.all() or not truth.any():
        return []
    within = Clusters(clusters.member[inside], clusters.counts)
    patients = within.patients(np.stack([truth, ~truth], axis=1)).min()
    once = Clusters(np.arange(len(score)), np.ones((1, len(score))))
    low, high = proportion_interval(resampled_auc(score, truth, within)[:, None], confidence, patients)
    value = float(resampled_auc(score, truth, once)[0])
    return [key | {"auc": value, "low": float(low[0]), "high": float(high[0]), "n": len(score)}]


def _features(samples: SampleArrays, windows: NDArray[np.float64] | None, seed: int) -> dict[str, NDArray[np.float64]]:
    hidden = hidden_regions(samples, np.random.default_rng(seed))
    found = np.array(
        [outside(grey, enlarged(region, samples.scale)) for grey, region in zip(samples.pixels, hidden, strict=True)]
    )
    sets = {"intensity": found[:, :7], "sharpness": found[:, 7:], "surroundings": found}
    if windows is not None:
        width, height = np.log(windows[:, 0]), np.log(windows[:, 1])
        sets["size"] = np.stack([width + height, width - height], axis=1)
    return sets


def hidden_regions(samples: SampleArrays, generator: np.random.Generator) -> NDArray[np.bool_]:
    """What the audit does not see of every sample, bool [n, s, s]: the annotation's grown hull; of samples without one
    that of a training lesion, drawn by the generator, so that the hole itself tells no class."""
    masked = scorable(samples)
    regions = np.zeros_like(samples.masks)
    regions[masked] = grown_hulls(samples.masks[masked], MARGIN)
    lent = np.flatnonzero(masked & (samples.splits == "train"))
    without = np.flatnonzero(~masked)
    if len(lent):
        regions[without] = regions[generator.choice(lent, size=len(without))]
    return regions


def outside(grey: NDArray[np.uint8], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of the pixels outside the region: mean, standard deviation, the 5th, 25th, 50th, 75th and 95th percentile of
    grey, and the log variance of the Laplacian at full and at half resolution: float64 [9]; zeros where none is
    outside. Upsampled small windows are blurred, so sharpness tells a window's size, too.
    """
    seen = grey[~region].astype(np.float64)
    if not len(seen):
        return np.zeros(9)
    rows, columns = (side // 2 for side in grey.shape)
    blocks = (rows, 2, columns, 2)
    half = grey[: 2 * rows, : 2 * columns].reshape(blocks).mean(axis=(1, 3))
    coarse: NDArray[np.bool_] = np.asarray(region[: 2 * rows, : 2 * columns].reshape(blocks).any(axis=(1, 3)))
    sharp = [_sharpness(grey.astype(np.float64), region), _sharpness(half, coarse)]
    return np.array([seen.mean(), seen.std(), *np.percentile(seen, (5, 25, 50, 75, 95)), *sharp])


def _sharpness(grey: NDArray[np.float64], region: NDArray[np.bool_]) -> float:
    found = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    seen = found[~binary_dilation(region)[1:-1, 1:-1]]
    return float(np.log1p(seen.var())) if len(seen) else 0.0
