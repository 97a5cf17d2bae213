"""Quadrants: correct or not, located or not. Correct but not located is 'right for the wrong reason'."""

from itertools import product

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import DataType

from lesionlens.localization.samples import scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters
from lesionlens.scoring.means import Mean, means

QUADRANTS: dict[str, DataType | type[DataType]] = {
    "label": pl.Int16,
    "correct": pl.Boolean,
    "located": pl.Boolean,
    "n": pl.Int64,
    "lesions": pl.Int64,
    "share": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


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
    columns = keys | {"n": counts, "lesions": scores.n, "share": scores.value, "low": scores.low, "high": scores.high}
    return pl.DataFrame(columns, schema=QUADRANTS).with_columns(pl.col("low", "high").fill_nan(None))
