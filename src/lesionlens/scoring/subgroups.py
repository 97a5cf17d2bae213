"""Scores within subgroups (lesion type, pathology, mask fraction, subtlety, breast density, view) and quadrants."""

from collections.abc import Mapping
from itertools import pairwise, product

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.frames import FRAMES
from lesionlens.localization.samples import scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters
from lesionlens.scoring.means import Key, Mean, means

OF_LESION = ("lesion_type", "pathology", "mask_fraction", "subtlety")
OF_IMAGE = ("breast_density", "view")
UNKNOWN = "unknown"
LEVEL = "{}:{}"
"""A level of a subgroup in one word."""
FRACTION_BREAKS = (0.05, 0.1, 0.2, 0.4)


def subgroup_scores(
    samples: SampleArrays,
    attributes: pl.DataFrame,
    correct: NDArray[np.bool_],
    ious: Mapping[str, NDArray[np.float64]],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """accuracy, and ll (mean IoU, over correctly classified and over all lesions) of maps and baselines, by level.

    attributes: sample_id and any of lesion_type, pathology, mask_fraction, subtlety, breast_density, view; the first
    four divide lesions alone, the others all samples. ious: by method, float64 [n], NaN where there is no mask. Null
    is the level 'unknown'; an attribute that is null throughout is left out. Levels ascending.
    """
    of_sample = pl.DataFrame({"sample_id": samples.ids}).join(
        attributes, on="sample_id", how="left", maintain_order="left"
    )
    lesions = scorable(samples)
    wanted = []
    for subgroup in (*OF_LESION, *OF_IMAGE):
        if subgroup not in of_sample.columns or not of_sample[subgroup].count():
            continue
        inside = samples.has_mask if subgroup in OF_LESION else np.ones(len(samples.ids), dtype=np.bool_)
        for level, used in _levels(of_sample, subgroup, inside).items():
            key: Key = {"subgroup": subgroup, "level": level}
            wanted.append(Mean(key | {"name": "accuracy", "population": "all"}, correct.astype(np.float64), used))
            for population, chosen in {"correct_lesions": lesions & correct, "lesions": lesions}.items():
                for method, iou in ious.items():
                    ll: Key = {"name": "ll", "method": method, "population": population}
                    wanted.append(Mean(key | ll, iou, used & chosen & ~np.isnan(iou)))
    return means(wanted, clusters, confidence).frame(FRAMES["subgroup_scores"])


def _levels(of_sample: pl.DataFrame, subgroup: str, inside: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    levels = of_sample.select(level(subgroup)).to_series().to_numpy()
    return {str(level): inside & (levels == level) for level in np.unique(levels[inside])}


def level(subgroup: str) -> pl.Expr:
    """The level of every sample in the subgroup's column, String; 'unknown' for null."""
    banded = mask_fraction_band(pl.col(subgroup)) if subgroup == "mask_fraction" else pl.col(subgroup)
    return banded.cast(pl.String).fill_null(UNKNOWN)


def mask_fraction_band(fraction: pl.Expr) -> pl.Expr:
    """Proportion of the sample inside the mask as one of five bands; null stays null.

    >>> pl.select(mask_fraction_band(pl.lit(0.07))).item()
    '0.05 to 0.10'
    """
    edges = (0.0, *FRACTION_BREAKS, 1.0)
    band = pl.lit(None, dtype=pl.String)
    for low, high in pairwise(edges):
        band = pl.when(fraction >= low).then(pl.lit(f"{low:.2f} to {high:.2f}")).otherwise(band)
    return band


def quadrants(
    samples: SampleArrays,
    correct: NDArray[np.bool_],
    located: NDArray[np.bool_],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """n lesions in each quadrant and their proportion of the class's scored lesions, with interval.

    located bool [n]: the map's maximum lies in the mask. label null: all lesions together. A class without a scored
    lesion has no row; an empty quadrant has n 0.
    """
    lesions = scorable(samples)
    classes: dict[int | None, NDArray[np.bool_]] = {None: lesions}
    classes |= {int(label): lesions & (samples.labels == label) for label in np.unique(samples.labels[lesions])}
    wanted = [
        Mean(
            {"label": label, "correct": right, "located": found},
            ((correct == right) & (located == found)).astype(np.float64),
            used,
        )
        for label, used in classes.items()
        for right, found in product((True, False), repeat=2)
        if used.any()
    ]
    scores = means(wanted, clusters, confidence)
    columns = {name: [key[name] for key in scores.keys] for name in ("label", "correct", "located")} | {
        "n": [int(mean.values[mean.used].sum()) for mean in wanted],
        "lesions": scores.n,
        "proportion": scores.value,
        "low": scores.low,
        "high": scores.high,
    }
    return pl.DataFrame(columns, schema=FRAMES["quadrants"]).fill_nan(None)
