"""Scores within subgroups: lesion type, pathology, mask fraction, subtlety, breast density, view."""

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

SUBGROUP_SCORES = FRAMES["subgroup_scores"]
OF_LESION = ("lesion_type", "pathology", "mask_fraction", "subtlety")
OF_IMAGE = ("breast_density", "view")
UNKNOWN = "unknown"
FRACTION_BREAKS = (0.05, 0.1, 0.2, 0.4)


def mask_fraction_band(fraction: pl.Expr) -> pl.Expr:
    """Share of the patch inside the mask as one of five bands, '0.00 to 0.05' to '0.40 to 1.00'; null stays null."""
    edges = (0.0, *FRACTION_BREAKS, 1.0)
    band = pl.lit(None, dtype=pl.String)
    for low, high in pairwise(edges):
        band = pl.when(fraction >= low).then(pl.lit(f"{low:.2f} to {high:.2f}")).otherwise(band)
    return band


def subgroup_scores(
    patches: SampleArrays,
    attributes: pl.DataFrame,
    correct: NDArray[np.bool_],
    ious: Mapping[str, NDArray[np.float64]],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """accuracy, and ll (mean IoU, over correctly classified and over all lesions) of maps and baselines, by level.

    attributes: sample_id and any of lesion_type, pathology, mask_fraction, subtlety, breast_density, view; the first
    four stratify lesions alone, the others all samples. ious: by method, float64 [n], NaN where there is no mask. Null
    is the level 'unknown'; an attribute that is null throughout is left out. Rows: SUBGROUP_SCORES, levels ascending.
    """
    columns = pl.DataFrame({"sample_id": patches.ids}).join(
        attributes, on="sample_id", how="left", maintain_order="left"
    )
    lesions = scorable(patches)
    wanted = []
    for subgroup in (*OF_LESION, *OF_IMAGE):
        if subgroup not in columns.columns or not columns[subgroup].count():
            continue
        inside = patches.has_mask if subgroup in OF_LESION else np.ones(len(patches.ids), dtype=np.bool_)
        for level, used in _levels(columns, subgroup, inside).items():
            key: Key = {"subgroup": subgroup, "level": level}
            named: Key = key | {"name": "accuracy", "method": None, "population": "all"}
            wanted.append(Mean(named, correct.astype(np.float64), used))
            for population, chosen in {"correct_lesions": lesions & correct, "lesions": lesions}.items():
                for method, iou in ious.items():
                    named = key | {"name": "ll", "method": method, "population": population}
                    wanted.append(Mean(named, iou, used & chosen & ~np.isnan(iou)))
    return means(wanted, clusters, confidence).frame(SUBGROUP_SCORES)


def _levels(columns: pl.DataFrame, subgroup: str, inside: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    banded = mask_fraction_band(pl.col(subgroup)) if subgroup == "mask_fraction" else pl.col(subgroup)
    of_sample = columns.select(banded.cast(pl.String).fill_null(UNKNOWN)).to_series().to_numpy()
    return {str(level): inside & (of_sample == level) for level in np.unique(of_sample[inside])}


QUADRANTS = FRAMES["quadrants"]


def quadrants(
    patches: SampleArrays,
    correct: NDArray[np.bool_],
    located: NDArray[np.bool_],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """n lesions in each quadrant and their share of the class's scored lesions, with interval.

    located bool [n]: the map's maximum lies in the mask. label null: all lesions together. A class without a scored
    lesion has no row; an empty quadrant has n 0.
    """
    lesions = scorable(patches)
    classes: dict[int | None, NDArray[np.bool_]] = {None: lesions}
    classes |= {int(label): lesions & (patches.labels == label) for label in np.unique(patches.labels[lesions])}
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
    keys = {name: [key[name] for key in scores.keys] for name in ("label", "correct", "located")}
    counts = np.array([int(mean.values[mean.used].sum()) for mean in wanted], dtype=np.int64)
    columns = keys | {
        "n": counts,
        "lesions": scores.n,
        "proportion": scores.value,
        "low": scores.low,
        "high": scores.high,
    }
    return pl.DataFrame(columns, schema=QUADRANTS).with_columns(pl.col("low", "high").fill_nan(None))
