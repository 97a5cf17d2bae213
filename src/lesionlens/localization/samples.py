"""Maps of one method with their scores, and the frames that hold these sample by sample."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.frames import FRAMES
from lesionlens.localization.metrics import MapScores
from lesionlens.records import BASELINES, CEILING, FILM_MAPS, SampleArrays

Nulls = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""IoU [n] by threshold policy of a method's own baselines: 'dealt', its maps of other patients, and 'random', its maps
of networks with random weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Regions of one threshold policy: threshold and iou float64 [n]; NaN thresholds for regions that need none."""

    threshold: NDArray[np.float64]
    iou: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredMaps:
    """One method and target over n samples. labels int64 [n] (class explained) and grids float32 [n, rows, cols],
    unscaled, are None for baselines that look at no image; these have one cut, 'mask', all others one by policy.
    explained bool [n]: the samples that have a map, None for all; scores and cuts of the others are NaN, hits False.
    """

    method: str
    target: str
    layer: str
    labels: NDArray[np.int64] | None
    grids: NDArray[np.float32] | None
    scores: MapScores
    cuts: dict[str, Cut]
    explained: NDArray[np.bool_] | None = None

    @property
    def is_baseline(self) -> bool:
        return self.method in BASELINES

    @property
    def is_reference(self) -> bool:
        """Whether this is no map of the evaluated model: a baseline, a map of FILM_MAPS, or the ceiling of its grid."""
        return self.is_baseline or self.method in (*FILM_MAPS, CEILING)

    def cut(self, policy: str) -> Cut:
        """The regions to compare with those of another method under this policy."""
        return self.cuts["mask" if self.target == "none" else policy]


def scorable(samples: SampleArrays) -> NDArray[np.bool_]:
    """Samples with a mask to compare with: bool [n]."""
    masked: NDArray[np.bool_] = samples.has_mask & samples.masks.any(axis=(1, 2))
    return masked


def reasons(samples: SampleArrays, maps: ScoredMaps) -> NDArray[np.object_]:
    """Why a sample has no score, or a score of zero; None for all others.

    'background': no lesion to find; 'empty_mask': nothing left of the mask at the sample's size; both leave scores
    null. 'not_finite_map': the map holds NaN or infinite values (it is not stored); 'blank_map': nothing positive. Both
    are scored 0, never dropped: a map that fails must not raise a mean. 'not_drawn': the method needs many passes of
    the network, and the sample is not one of those drawn for it; scores and map are null.
    """
    reason = np.full(len(samples.ids), None, dtype=np.object_)
    reason[maps.scores.blank] = "blank_map"
    if maps.grids is not None:
        reason[~np.isfinite(maps.grids).all(axis=(1, 2))] = "not_finite_map"
    reason[~samples.masks.any(axis=(1, 2))] = "empty_mask"
    reason[~samples.has_mask] = "background"
    if maps.explained is not None:
        reason[~maps.explained] = "not_drawn"
    return reason


def scored_samples(samples: SampleArrays, maps: ScoredMaps) -> NDArray[np.bool_]:
    """Samples with a mask and a map to compare: bool [n]."""
    return scorable(samples) if maps.explained is None else scorable(samples) & maps.explained


def lifts(energy: NDArray[np.float64], samples: SampleArrays) -> NDArray[np.float64]:
    """Energy over the proportion of the breast that the annotation is, float64 [n]: 1 for a map that is the same all
    over the breast and 0 outside. NaN for patches, without an annotation, and where none of it is on the breast.
    """
    if samples.breasts is None:
        return np.full(len(energy), np.nan)
    inside = (samples.masks & samples.breasts).sum(axis=(1, 2))
    share = inside / np.maximum(samples.breasts.sum(axis=(1, 2)), 1)
    found: NDArray[np.float64] = np.divide(energy, share, out=np.full(len(energy), np.nan), where=share > 0)
    return found


def map_frame(samples: SampleArrays, maps: ScoredMaps) -> pl.DataFrame:
    """One row per sample: the unscaled map, row by row, and the scores that need no threshold."""
    count, scores, masked = len(samples.ids), maps.scores, scored_samples(samples, maps)
    lift = lifts(scores.energy, samples)
    grids = np.zeros((count, 1, 1), dtype=np.float32) if maps.grids is None else maps.grids
    finite = np.full(count, maps.grids is not None)
    finite &= np.isfinite(grids).all(axis=(1, 2))
    shape = (None, None) if maps.grids is None else grids.shape[1:]
    columns = {
        "sample_id": samples.ids,
        "method": [maps.method] * count,
        "target": [maps.target] * count,
        "layer": [maps.layer] * count,
        "label": [None] * count if maps.labels is None else maps.labels,
        "rows": [shape[0]] * count,
        "cols": [shape[1]] * count,
        "grid": _lists(grids.reshape(count, -1), finite),
        "blank": scores.blank,
        "iou_curve": _lists(scores.curve.astype(np.float32), masked),
        "hit": pl.Series(scores.hit).set(pl.Series(~masked), None),
        "energy": _nullable(scores.energy, masked),
        "rank_accuracy": _nullable(scores.rank_accuracy, masked),
        "pixel_ap": _nullable(scores.pixel_ap, masked),
        "top5": _nullable(scores.top5, masked),
        "lift": _nullable(lift, masked & ~np.isnan(lift)),
        "reason": reasons(samples, maps).tolist(),
    }
    return pl.DataFrame(columns, schema=FRAMES["maps"])


def localization_frame(samples: SampleArrays, maps: ScoredMaps, nulls: Nulls) -> pl.DataFrame:
    """One row per sample and policy: threshold and IoU, and the IoU of the method's own baselines."""
    count, masked = len(samples.ids), scored_samples(samples, maps)
    frames = []
    for policy, cut in maps.cuts.items():
        reason = reasons(samples, maps)
        untuned = masked & np.isnan(cut.iou)
        reason[untuned] = "no_validation_lesions"
        columns = {
            "sample_id": samples.ids,
            "method": [maps.method] * count,
            "target": [maps.target] * count,
            "policy": [policy] * count,
            "threshold": _nullable(cut.threshold, ~np.isnan(cut.threshold)),
            "iou": _nullable(cut.iou, masked & ~untuned),
            **{f"{name}_iou": _null(nulls.get(name, {}).get(policy), masked) for name in ("dealt", "random")},
            "reason": reason.tolist(),
        }
        frames.append(pl.DataFrame(columns, schema=FRAMES["localizations"]))
    return pl.concat(frames)


def _null(values: NDArray[np.float64] | None, masked: NDArray[np.bool_]) -> pl.Series:
    known = np.full(len(masked), np.nan) if values is None else values
    return _nullable(known, masked & ~np.isnan(known))


def _nullable(values: NDArray[np.float64], defined: NDArray[np.bool_]) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64).set(pl.Series(~defined), None)


def _lists(values: NDArray[np.float32], defined: NDArray[np.bool_]) -> pl.Series:
    """Rows of values [n, k] as lists, null where not defined."""
    rows = [row if there else None for row, there in zip(values.tolist(), defined, strict=True)]
    return pl.Series(rows, dtype=pl.List(pl.Float32))
