"""One method's maps and what they score, and the frames that hold them sample by sample."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.frames import FRAMES
from lesionlens.localization.metrics import MapScores
from lesionlens.records import SampleArrays

MAPS = FRAMES["maps"]
LOCALIZATIONS = FRAMES["localizations"]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Regions of one threshold policy: threshold and iou float64 [n]; NaN thresholds for regions that need none."""

    threshold: NDArray[np.float64]
    iou: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredMaps:
    """One method and target over n samples. labels int64 [n] (class explained) and grids float32 [n, rows, cols] are
    None for baselines that look at no image; cuts by policy."""

    method: str
    target: str
    layer: str
    labels: NDArray[np.int64] | None
    grids: NDArray[np.float32] | None
    scores: MapScores
    cuts: dict[str, Cut]


def reasons(patches: SampleArrays, explanation: ScoredMaps) -> NDArray[np.object_]:
    """Why a sample has no score, or a zero one; None where nothing is amiss.

    'background': no lesion to find; 'empty_mask': nothing left of the mask at patch size; both leave scores NULL.
    'not_finite_map': the grid holds NaN or infinite values (it is not stored); 'blank_map': nothing positive. Both
    are scored 0, never dropped: a map that fails must not raise a mean.
    """
    reason = np.full(len(patches.ids), None, dtype=np.object_)
    reason[explanation.scores.blank] = "blank_map"
    if explanation.grids is not None:
        reason[~np.isfinite(explanation.grids).all(axis=(1, 2))] = "not_finite_map"
    reason[~patches.masks.any(axis=(1, 2))] = "empty_mask"
    reason[~patches.has_mask] = "background"
    return reason


def scorable(patches: SampleArrays) -> NDArray[np.bool_]:
    """Samples with a mask to compare with: bool [n]."""
    masked: NDArray[np.bool_] = patches.has_mask & patches.masks.any(axis=(1, 2))
    return masked


def map_frame(patches: SampleArrays, explanation: ScoredMaps) -> pl.DataFrame:
    """One row per sample: the raw grid, row-major, and the scores that need no threshold."""
    count, scores, masked = len(patches.ids), explanation.scores, scorable(patches)
    grids, labels = explanation.grids, explanation.labels
    finite = np.zeros(count, dtype=np.bool_)
    if grids is not None:
        finite |= np.isfinite(grids).all(axis=(1, 2))
    shape = (None, None) if grids is None else grids.shape[1:]
    columns = {
        "sample_id": patches.ids,
        "method": [explanation.method] * count,
        "target": [explanation.target] * count,
        "layer": [explanation.layer] * count,
        "label": [None] * count if labels is None else labels,
        "rows": [shape[0]] * count,
        "cols": [shape[1]] * count,
        "grid": _lists(np.zeros((count, 1), dtype=np.float32) if grids is None else grids.reshape(count, -1), finite),
        "blank": scores.blank,
        "iou_curve": _lists(scores.curve.astype(np.float32), masked),
        "hit": pl.Series(scores.hit).set(pl.Series(~masked), None),
        "energy": _nullable(scores.energy, masked),
        "rank_accuracy": _nullable(scores.rank_accuracy, masked),
        "pixel_ap": _nullable(scores.pixel_ap, masked),
        "reason": reasons(patches, explanation).tolist(),
    }
    return pl.DataFrame(columns, schema=MAPS)


def localization_frame(patches: SampleArrays, explanation: ScoredMaps) -> pl.DataFrame:
    """One row per sample and policy: threshold and IoU."""
    count, masked = len(patches.ids), scorable(patches)
    frames = []
    for policy, cut in explanation.cuts.items():
        reason = reasons(patches, explanation)
        untuned = masked & np.isnan(cut.iou)
        reason[untuned] = "no_validation_lesions"
        columns = {
            "sample_id": patches.ids,
            "method": [explanation.method] * count,
            "target": [explanation.target] * count,
            "policy": [policy] * count,
            "threshold": _nullable(cut.threshold, ~np.isnan(cut.threshold)),
            "iou": _nullable(cut.iou, masked & ~untuned),
            "reason": reason.tolist(),
        }
        frames.append(pl.DataFrame(columns, schema=LOCALIZATIONS))
    return pl.concat(frames)


def _nullable(values: NDArray[np.float64], known: NDArray[np.bool_]) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64).set(pl.Series(~known), None)


def _lists(values: NDArray[np.float32], known: NDArray[np.bool_]) -> pl.Series:
    """Rows of values [n, k] as lists, null where not known."""
    rows = [row if given else None for row, given in zip(values.tolist(), known, strict=True)]
    return pl.Series(rows, dtype=pl.List(pl.Float32))
