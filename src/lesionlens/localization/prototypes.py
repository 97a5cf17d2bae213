"""Prototypes against annotations: what each is, what it marks, and activation precision beside the mask's share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from lesionlens.frames import FRAMES
from lesionlens.localization.maps import EvaluatedSplit
from lesionlens.localization.metrics import FIXED_THRESHOLD, MapScores, score_grids
from lesionlens.localization.samples import ScoredMaps, scorable
from lesionlens.models.arithmetic import channels_last
from lesionlens.models.classifier import Classifier
from lesionlens.models.own import Network
from lesionlens.models.prototypes import Prototypes, nearest, similarity
from lesionlens.records import SampleArrays
from lesionlens.training.feature_cache import Stored
from lesionlens.training.inputs import Inputs
from lesionlens.training.prototypes.projection import BATCH

NEIGHBOURS = 10
EACH = "each_prototype"
"""Method of activation precision over the maps of every single prototype of the true class."""


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Prototypes of a model, and what they make of the n test samples.

    owners int64, kept bool [p]; sources int64 [p, 3]; weights float32 [classes, p]; similarities float32 [n, p]; places
    int64 [n, p, 2]: row and column of the highest similarity; scores: of each prototype's maps; nearest int64 and
    distances float32 [p, 10]: positions of the nearest training samples; strongest int64 [t]: of every training sample
    the most similar prototype of its class, labels int64 [t].
    """

    owners: NDArray[np.int64]
    kept: NDArray[np.bool_]
    sources: NDArray[np.int64]
    weights: NDArray[np.float32]
    shape: tuple[int, int]
    similarities: NDArray[np.float32]
    places: NDArray[np.int64]
    scores: Sequence[MapScores]
    nearest: NDArray[np.int64]
    distances: NDArray[np.float32]
    strongest: NDArray[np.int64]
    labels: NDArray[np.int64]


@torch.no_grad()
def cases(model: Network, split: EvaluatedSplit, stored: Stored | None = None) -> Cases | None:
    """What the prototypes of a model make of the test split; None for a model without, or without training samples.

    stored: as in `Source`.
    """
    inputs = split.inputs
    rows = inputs.rows("train")
    if not isinstance(model, Classifier) or not isinstance(model.pool, Prototypes) or not rows:
        return None
    model = model.to(inputs.device).eval()
    layer = model.pool
    assert isinstance(layer, Prototypes)
    owners, kept = layer.owners.cpu().numpy(), layer.kept.cpu().numpy()
    similarities, maps, _ = _similarities(model, layer, inputs, split.rows, stored)
    n, p, _, columns = maps.shape
    highest = maps.reshape(n, p, -1).argmax(axis=2)
    scaling = split.evaluation.scaling
    scores = [
        score_grids(np.ascontiguousarray(maps[:, j]), split.test.masks, scaling, FIXED_THRESHOLD) for j in range(p)
    ]
    trained, _, least = _similarities(model, layer, inputs, rows, stored)
    order = np.argsort(least.T, axis=1, kind="stable")[:, :NEIGHBOURS]
    near, distances = np.array(rows)[order], np.take_along_axis(least.T, order, axis=1)
    labels = inputs.patches.labels[rows]
    own = (labels[:, None] == owners) & kept
    return Cases(
        owners, kept, layer.sources.cpu().numpy(), model.head.weight.cpu().numpy(), maps.shape[2:],
        similarities, np.stack([highest // columns, highest % columns], axis=2), scores, near,
        distances, np.where(own, trained, -1.0).argmax(axis=1), labels,
    )  # fmt: skip


def _similarities(
    model: Classifier, layer: Prototypes, inputs: Inputs, rows: Sequence[int], stored: Stored | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """g [n, p], maps s [n, p, h, w] and distances of the nearest places [n, p] of the samples at these positions."""
    pooled, maps, least = [], [], []
    for batch in torch.split(torch.tensor(list(rows)), BATCH):
        features = channels_last(inputs(batch) if stored is None else stored.features[batch].to(inputs.device))
        for module in model.between("pixels" if stored is None else stored.level, "unit1"):
            features = module(features)
        distances = layer.distances(features)
        pooled.append(layer.pooled(distances).cpu().numpy())
        maps.append(similarity(distances).cpu().numpy())
        least.append(nearest(distances, layer.topk, largest=False).mean(dim=2).cpu().numpy())
    return np.concatenate(pooled), np.concatenate(maps), np.concatenate(least)


def match_frame(test: SampleArrays, found: Cases) -> pl.DataFrame:
    """A row for every test sample and prototype that was kept: similarity, its place, and the scores of its map.

    iou: of as many of the map's highest pixels as the annotation has.
    """
    parts, masked = [], scorable(test)
    reason = np.full(len(test.ids), None, dtype=np.object_)
    reason[~test.masks.any(axis=(1, 2))] = "empty_mask"
    reason[~test.has_mask] = "background"
    for j in map(int, np.flatnonzero(found.kept)):
        scores = found.scores[j]
        columns: dict[str, object] = {
            "sample_id": test.ids,
            "number": np.full(len(test.ids), j + 1),
            "row": found.places[:, j, 0],
            "col": found.places[:, j, 1],
            "similarity": found.similarities[:, j].astype(np.float64),
        }
        columns |= {
            name: [float(value) if there else None for value, there in zip(values, masked, strict=True)]
            for name, values in (("iou", scores.area_iou), ("energy", scores.energy), ("top5", scores.top5))
        }
        columns["hit"] = [bool(hit) if there else None for hit, there in zip(scores.hit, masked, strict=True)]
        columns["reason"] = reason.tolist()
        parts.append(pl.DataFrame(columns, schema=FRAMES["prototype_matches"]))
    return pl.concat(parts)


def own_precision(test: SampleArrays, found: Cases) -> NDArray[np.float64]:
    """Mean activation precision of the prototypes of each test sample's true class, float64 [n]; NaN without a mask."""
    top = np.stack([scores.top5 for scores in found.scores], axis=1)
    own = (test.labels[:, None] == found.owners) & found.kept
    total = np.where(own, top, 0).sum(axis=1)
    count = own.sum(axis=1)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean


def explained_inside(test: SampleArrays, predicted: NDArray[np.int64], found: Cases) -> NDArray[np.float64]:
    """Proportion of the points for the predicted class from prototypes matched inside the annotation, float64 [n].

    Points are similarity times weight, positive ones alone; a prototype is matched where the centre of its highest cell
    lies. NaN without a mask or a positive point.
    """
    size, (rows, columns) = test.masks.shape[1], found.shape
    y = ((found.places[:, :, 0] + 0.5) * size / rows).astype(np.int64)
    x = ((found.places[:, :, 1] + 0.5) * size / columns).astype(np.int64)
    inside = test.masks[np.arange(len(test.ids))[:, None], y, x]
    points = np.maximum(found.similarities * found.weights[predicted] * found.kept, 0)
    total = np.where(scorable(test), points.sum(axis=1), 0)
    inner = (points * inside).sum(axis=1)
    share: NDArray[np.float64] = np.divide(inner, total, out=np.full(len(total), np.nan), where=total > 0)
    return share


def precisions(test: SampleArrays, maps: Sequence[ScoredMaps], found: Cases | None) -> dict[str, NDArray[np.float64]]:
    """Activation precision float64 [n] of the true class's map by method, and over its single prototypes' maps."""
    values = {m.method: m.scores.top5 for m in maps if m.target == "true" and not m.is_reference}
    return values if found is None else values | {EACH: own_precision(test, found)}
