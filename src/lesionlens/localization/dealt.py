"""Baseline 'dealt_maps': the model's maps of other patients' lesions, the null of maps that are alike for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.attribution.scaling import Scaling, activation_maps
from lesionlens.frames import FRAMES
from lesionlens.localization.samples import Nulls, ScoredMaps, scorable, scored_samples
from lesionlens.records import SampleArrays

OTHERS = 40
"""Most maps that a lesion is scored with."""
NAME = "dealt_maps"


@dataclass(frozen=True, slots=True, eq=False)
class Dealt:
    """Of the maps of one method and target: by threshold policy, float64 [n], the mean IoU of a lesion's mask with the
    regions of other patients' maps; NaN where there is no mask, no threshold or no other patient. untuned: policies
    without a threshold."""

    method: str
    target: str
    layer: str
    iou: dict[str, NDArray[np.float64]]
    untuned: frozenset[str]


def others(
    patients: NDArray[np.str_], strata: NDArray[np.int64], generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """For every lesion up to 40 lesions of other patients in its stratum, drawn at random: positions int64 [k]."""
    drawn = []
    for patient, stratum in zip(patients, strata, strict=True):
        eligible = np.flatnonzero((patients != patient) & (strata == stratum))
        drawn.append(generator.permutation(eligible)[:OTHERS])
    return drawn


def dealt_maps(
    samples: SampleArrays,
    correct: NDArray[np.bool_],
    maps: Sequence[ScoredMaps],
    scaling: Scaling,
    generator: np.random.Generator,
) -> list[Dealt]:
    """The baseline for every method and target of `maps`, baselines left out; the same other lesions for all of them.

    A lesion's others are of its own label group, and classified correctly as it is or not, so that the mean over any
    population and group is over maps of that population and group. Each of their maps keeps its own threshold. Where a
    method explains some lesions only, these are dealt among themselves.
    """
    shape, groups = samples.masks.shape[1:], np.unique(np.array(samples.groups), return_inverse=True)[1]
    drawn: dict[bytes, list[NDArray[np.int64]]] = {}
    found = []
    for m in maps:
        if m.grids is None or m.is_reference:
            continue
        rows = np.flatnonzero(scored_samples(samples, m))
        if rows.tobytes() not in drawn:
            strata = 2 * groups[samples.labels[rows]] + correct[rows]
            drawn[rows.tobytes()] = others(samples.patients[rows], strata, generator)
        masks = np.packbits(samples.masks[rows].reshape(len(rows), -1), axis=1)
        ious = _ious(m, rows, masks, drawn[rows.tobytes()], scaling, shape)
        found.append(Dealt(m.method, m.target, m.layer, ious, _untuned(m, rows)))
    return found


def nulls(maps: ScoredMaps, dealt: Sequence[Dealt], random: Mapping[str, ScoredMaps]) -> Nulls:
    """The IoU of the baselines that are a method's own; nothing for maps that are no method's."""
    if maps.is_reference:
        return {}
    own = next(d for d in dealt if (d.method, d.target) == (maps.method, maps.target))
    cuts = random[maps.method].cuts if maps.method in random else {}
    return {"dealt": own.iou, "random": {policy: cut.iou for policy, cut in cuts.items()}}


def _untuned(maps: ScoredMaps, rows: NDArray[np.int64]) -> frozenset[str]:
    return frozenset(policy for policy, cut in maps.cuts.items() if np.isnan(cut.threshold[rows]).all())


def _ious(
    maps: ScoredMaps,
    rows: NDArray[np.int64],
    masks: NDArray[np.uint8],
    drawn: Sequence[NDArray[np.int64]],
    scaling: Scaling,
    shape: tuple[int, ...],
) -> dict[str, NDArray[np.float64]]:
    assert maps.grids is not None
    activation, _ = activation_maps(maps.grids[rows], shape, scaling)
    found = {}
    for policy, cut in maps.cuts.items():
        levels = cut.threshold[rows].astype(np.float32)
        regions = np.packbits((activation >= levels[:, None, None]).reshape(len(rows), -1), axis=1)
        means = np.full(len(maps.grids), np.nan)
        for row, mask, chosen in zip(rows, masks, drawn, strict=True):
            # The region of a blank map at threshold 0 or less would be everything; NaN levels give no region at all.
            chosen = chosen[~np.isnan(levels[chosen])]
            if len(chosen):
                iou = _iou(regions[chosen], mask)
                # Equal values have exactly that mean, so that maps alike for all differ from dealt ones by exactly 0.
                means[row] = iou[0] + (iou - iou[0]).mean()
        found[policy] = means
    return found


def _iou(regions: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """IoU of packed regions [k, b] with one packed mask [b] that is not empty."""
    both = np.bitwise_count(regions & mask).sum(axis=1, dtype=np.int64)
    either = np.bitwise_count(regions | mask).sum(axis=1, dtype=np.int64)
    ratio: NDArray[np.float64] = both / either
    return ratio


def dealt_frames(samples: SampleArrays, dealt: Dealt) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of the frames maps and localizations: method 'dealt_maps', without a map of its own (reason
    'mean_of_maps'); iou null with the reason 'background', 'empty_mask' or 'no_other_patient'."""
    count, masked = len(samples.ids), scorable(samples)
    key = {"sample_id": samples.ids, "method": [NAME] * count, "target": [dealt.target] * count}
    rows = key | {"layer": [dealt.layer] * count, "blank": [False] * count, "reason": ["mean_of_maps"] * count}
    schema = FRAMES["maps"]
    maps = pl.DataFrame(rows, schema={name: schema[name] for name in rows})
    missing: dict[str, pl.Expr] = {
        name: pl.lit(None, dtype=kind).alias(name) for name, kind in schema.items() if name not in rows
    }
    located = []
    for policy, iou in dealt.iou.items():
        alone = "no_validation_lesions" if policy in dealt.untuned else "no_other_patient"
        reason = np.where(masked, alone, np.where(samples.has_mask, "empty_mask", "background"))
        values = pl.Series("iou", iou, dtype=pl.Float64).fill_nan(None)
        columns = key | {
            "policy": [policy] * count,
            "threshold": [None] * count,
            "iou": values,
            "dealt_iou": [None] * count,
            "random_iou": [None] * count,
            "reason": [None if known else str(why) for known, why in zip(values.is_not_null(), reason, strict=True)],
        }
        located.append(pl.DataFrame(columns, schema=FRAMES["localizations"]))
    return maps.with_columns(*missing.values()).select(list(schema)), pl.concat(located)
