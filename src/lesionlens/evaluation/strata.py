"""Scores within strata (lesion type, pathology, mask fraction, density, view, subtlety), and quadrants by class."""

from itertools import pairwise

import numpy as np
import polars as pl
from polars import DataType

from lesionlens.config import EvaluationConfig
from lesionlens.evaluation.bootstrap import draw, interval, ratios

STRATA: dict[str, DataType | type[DataType]] = {
    "stratum": pl.String,
    "level": pl.String,
    "score": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "reason": pl.String,
}
UNKNOWN = "unknown"
FRACTION_BREAKS = (0.05, 0.1, 0.2, 0.4)


def mask_fraction_band(fraction: pl.Expr) -> pl.Expr:
    """Share of the patch inside the mask as one of five bands, '0.00 to 0.05' to '0.40 to 1.00'; null stays null."""
    edges = (0.0, *FRACTION_BREAKS, 1.0)
    band = pl.lit(None, dtype=pl.String)
    for low, high in pairwise(edges):
        band = pl.when(fraction >= low).then(pl.lit(f"{low:.2f} to {high:.2f}")).otherwise(band)
    return band


def strata(samples: pl.DataFrame, columns: tuple[str, ...], evaluation: EvaluationConfig, seed: int) -> pl.DataFrame:
    """accuracy, ll (mean IoU of correctly classified lesions) and ll_lesions (of all lesions) at every level.

    samples: patient, is_lesion, correct, iou (null where there is none) and `columns`, of any type; null is the level
    'unknown'. Result: stratum (the column), level, score, value, low, high, n, reason ('no_samples' where n is 0).
    Levels in ascending order. Intervals are clustered by patient, from one set of resamples.
    """
    clusters = draw(samples["patient"].to_numpy(), evaluation.resamples, np.random.default_rng(seed))
    located = (samples["is_lesion"] & samples["iou"].is_not_null()).to_numpy()
    correct = samples["correct"].to_numpy()
    iou = samples["iou"].fill_null(0.0).to_numpy()
    scores = {
        "accuracy": (correct.astype(np.float64), np.ones(samples.height, dtype=np.bool_)),
        "ll": (iou, located & correct),
        "ll_lesions": (iou, located),
    }
    keys, values, used = [], [], []
    for column in columns:
        level_of = samples[column].cast(pl.String).fill_null(UNKNOWN)
        for level in level_of.unique().sort():
            for score, (value, chosen) in scores.items():
                keys.append({"stratum": column, "level": level, "score": score})
                values.append(value)
                used.append(chosen & (level_of == level).to_numpy())
    if not keys:
        return pl.DataFrame(schema=STRATA)
    weight, number = np.stack(used, axis=1), np.stack(values, axis=1)
    low, high = interval(ratios(number, weight, clusters), evaluation.confidence)
    count = weight.sum(axis=0)
    mean = np.divide((number * weight).sum(axis=0), count, out=np.full(len(keys), np.nan), where=count > 0)
    frame = pl.DataFrame(keys).with_columns(value=mean, low=low, high=high, n=count)
    reason = pl.when(pl.col("n") == 0).then(pl.lit("no_samples"))
    frame = frame.with_columns(pl.col("value", "low", "high").fill_nan(None), reason=reason)
    return frame.select(pl.col(name).cast(kind) for name, kind in STRATA.items())


def quadrants(samples: pl.DataFrame) -> pl.DataFrame:
    """Correct or not, located or not, per class: the lesions of each quadrant, 'right for the wrong reason' among them.

    samples: patch_id, label, is_lesion, correct, hit (the map's maximum lies in the mask; null where unscored). Result:
    label, correct, located, n, share (of the class's scored lesions), patch_ids; empty quadrants are rows with n 0.
    """
    lesions = samples.filter(pl.col("is_lesion") & pl.col("hit").is_not_null()).rename({"hit": "located"})
    grid = (
        lesions.select("label")
        .unique()
        .join(pl.DataFrame({"correct": [True, True, False, False], "located": [True, False, True, False]}), how="cross")
    )
    found = lesions.group_by("label", "correct", "located").agg(n=pl.len(), patch_ids=pl.col("patch_id").sort())
    joined = grid.join(found, on=["label", "correct", "located"], how="left").with_columns(
        pl.col("n").fill_null(0).cast(pl.Int64), pl.col("patch_ids").fill_null([])
    )
    share = joined.with_columns(share=pl.col("n") / pl.col("n").sum().over("label"))
    order = ["label", "correct", "located"]
    return share.sort(order, descending=[False, True, True]).select(*order, "n", "share", "patch_ids")
