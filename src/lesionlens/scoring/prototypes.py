"""Scores of prototypes: activation precision beside the mask's share, and how good a case each prototype is."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.frames import FRAMES
from lesionlens.localization.prototypes import Cases, explained_inside, match_frame, precisions
from lesionlens.localization.samples import ScoredMaps, scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters
from lesionlens.scoring.means import Key, Mean, lesion_populations, means


def activation_precisions(
    test: SampleArrays, maps: Sequence[ScoredMaps], found: Cases | None, clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """Mean activation precision of the true class's map by method, and over its single prototypes' maps (Barnett et al.
    2021), over all test lesions and over those of each class.

    share: mean proportion of the patch inside the annotation over the same lesions, what a map that knows nothing
    reaches; difference: value minus share, paired. Frame: activation_precisions.
    """
    share = test.masks.mean(axis=(1, 2))
    keys: list[Key] = []
    wanted: list[Mean] = []
    gaps: list[Mean] = []
    for method, values in precisions(test, maps, found).items():
        defined = scorable(test) & ~np.isnan(values)
        for label in (None, *sorted({int(label) for label in test.labels[defined]})):
            used = defined if label is None else defined & (test.labels == label)
            keys.append({"method": method, "label": label})
            wanted += [Mean(keys[-1], values, used), Mean(keys[-1], share, used)]
            gaps.append(Mean(keys[-1], values - share, used))
    if not keys:
        return pl.DataFrame(schema=FRAMES["activation_precisions"])
    scores, paired = means(wanted, clusters, confidence), means(gaps, clusters, confidence, binary=False)
    columns = {
        "method": [key["method"] for key in keys],
        "label": [key["label"] for key in keys],
        "value": scores.value[::2],
        "share": scores.value[1::2],
        "difference": paired.value,
        "difference_low": paired.low,
        "difference_high": paired.high,
        "low": scores.low[::2],
        "high": scores.high[::2],
        "n": scores.n[::2],
        "reason": [None if n else "no_samples" for n in scores.n[::2]],
    }
    return _framed("activation_precisions", columns)


def prototype_frames(
    test: SampleArrays, ids: NDArray[np.int64], labels: NDArray[np.int64], found: Cases | None, clusters: Clusters,
    confidence: float,
) -> dict[str, pl.DataFrame]:  # fmt: skip
    """Frames prototypes and prototype_matches; empty without prototypes. ids, labels int64: of all samples.

    purity: proportion of the ten nearest training samples that are of the prototype's class. coverage: proportion of
    the training samples of its class that look more like it than like any other prototype of the class. value: its
    activation precision over test lesions of its class, share: the mask's share of those. Prototypes count from 1.
    """
    if found is None:
        return {name: pl.DataFrame(schema=FRAMES[name]) for name in ("prototypes", "prototype_matches")}
    share, lesions = test.masks.mean(axis=(1, 2)), scorable(test)
    wanted = []
    for j, owner in enumerate(found.owners):
        used = lesions & (test.labels == owner)
        wanted += [Mean({}, found.scores[j].top5, used), Mean({}, share, used)]
    scores = means(wanted, clusters, confidence)
    count = len(found.owners)
    columns = {
        "number": np.arange(1, count + 1),
        "label": found.owners,
        "source_id": found.sources[:, 0],
        "row": found.sources[:, 1],
        "col": found.sources[:, 2],
        "rows": np.full(count, found.shape[0]),
        "cols": np.full(count, found.shape[1]),
        "kept": found.kept,
        "weights": found.weights.T.astype(np.float64).tolist(),
        "neighbours": ids[found.nearest].tolist(),
        "distances": found.distances.astype(np.float64).tolist(),
        "purity": (labels[found.nearest] == found.owners[:, None]).mean(axis=1),
        "coverage": [
            float((found.strongest[found.labels == owner] == j).mean()) if found.kept[j] else 0.0
            for j, owner in enumerate(found.owners)
        ],
        "value": scores.value[::2],
        "share": scores.value[1::2],
        "low": scores.low[::2],
        "high": scores.high[::2],
        "n": scores.n[::2],
        "reason": [None if n else "no_samples" for n in scores.n[::2]],
    }
    return {"prototypes": _framed("prototypes", columns), "prototype_matches": match_frame(test, found)}


def explained_scores(
    test: SampleArrays, predicted: NDArray[np.int64], found: Cases | None, clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """explained_inside: the proportion of a prediction's points from prototypes matched inside the annotation, over
    `lesion_populations`. Frame: run_scores.
    """
    if found is None:
        return pl.DataFrame(schema=FRAMES["run_scores"])
    values = explained_inside(test, predicted, found)
    key: Key = {"name": "explained_inside", "method": "prototypes", "target": "predicted"}
    wanted = [
        Mean(key | where, values, chosen & ~np.isnan(values))
        for where, chosen in lesion_populations(test, np.equal(predicted, test.labels))
    ]
    return means(wanted, clusters, confidence).frame(FRAMES["run_scores"])


def _framed(name: str, columns: dict[str, object]) -> pl.DataFrame:
    schema = FRAMES[name]
    return pl.DataFrame({column: columns[column] for column in schema}, schema=schema).fill_nan(None)
