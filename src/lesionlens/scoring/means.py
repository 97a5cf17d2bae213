"""Means over samples with intervals, and their rows: many at once, from one set of patient resamples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.frames import Schema
from lesionlens.localization.samples import scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, interval, proportion_interval, ratios

Key = dict[str, object]
"""The columns that identify a score; those of its frame that it lacks are null."""
OVERALL: Key = {"population": "all", "group_name": "all"}


@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """A score that is a mean over samples: values float64 [n] over those `used` bool [n]."""

    key: Key
    values: NDArray[np.float64]
    used: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """k means: value, low, high float64 [k] (NaN where n is 0; low and high also where all is of one patient), n and
    patients int64 [k], resampled [resamples, k]."""

    keys: list[Key]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]
    patients: NDArray[np.int64]
    resampled: NDArray[np.float64]

    def frame(self, schema: Schema) -> pl.DataFrame:
        """The scores as rows of `schema`."""
        return score_frame(schema, self.keys, self.value, self.low, self.high, self.n)


def means(
    wanted: Sequence[Mean], clusters: Clusters, confidence: float, binary: bool = True, ratio: bool = False
) -> Means:
    """All means with their percentile intervals. Values outside `used` may be NaN.

    binary: values are proportions, and means whose values are all 0 or 1 get `proportion_interval`; else they may be
    differences, down to -1, or with `ratio` ratios from 0 to any number.
    """
    samples = len(clusters.member)
    used = np.stack([mean.used for mean in wanted], axis=1) if wanted else np.zeros((samples, 0), dtype=np.bool_)
    values = np.stack([mean.values for mean in wanted], axis=1) if wanted else np.zeros((samples, 0))
    values = np.where(used, values, 0.0)
    count = used.sum(axis=0)
    point = np.divide(values.sum(axis=0), count, out=np.full(len(wanted), np.nan), where=count > 0)
    resampled = ratios(values, used, clusters)
    patients = clusters.patients(used)
    low, high = interval(resampled, confidence, patients, 0.0 if binary or ratio else -1.0, np.inf if ratio else 1.0)
    if binary:
        flags = ((values == 0) | (values == 1)).all(axis=0)  # 0 where not used
        low[flags], high[flags] = proportion_interval(resampled[:, flags], confidence, patients[flags])
    return Means([mean.key for mean in wanted], point, low, high, count, patients, resampled)


def score_frame(
    schema: Schema,
    keys: list[Key],
    value: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    n: NDArray[np.int64],
) -> pl.DataFrame:
    """Scores as rows of `schema`, whose columns are those of keys, the value, low, high, n and reason.

    NaN becomes null with the reason 'no_samples', or 'no_other_class' where there were samples; a score without an
    interval has the reason 'one_patient'.
    """
    *columns, score, _low, _high, _n, _reason = schema
    frame = pl.DataFrame(keys, schema={column: schema[column] for column in columns})
    frame = frame.with_columns(low=low, high=high, n=pl.Series(n, dtype=pl.Int64), **{score: value})
    frame = frame.with_columns(pl.col(score, "low", "high").fill_nan(None))
    empty = pl.when(pl.col("n") == 0).then(pl.lit("no_samples")).otherwise(pl.lit("no_other_class"))
    alone = pl.when(pl.col("low").is_null()).then(pl.lit("one_patient"))
    frame = frame.with_columns(reason=pl.when(pl.col(score).is_null()).then(empty).otherwise(alone))
    return frame.select(pl.col(column).cast(kind) for column, kind in schema.items())


def groups(samples: SampleArrays) -> dict[str, NDArray[np.bool_]]:
    """Samples bool [n] of every label group, in the order of the labels."""
    of_sample = np.array(samples.groups)[samples.labels]
    return {group: of_sample == group for group in dict.fromkeys(samples.groups)}


def lesion_populations(
    samples: SampleArrays, correct: NDArray[np.bool_]
) -> list[tuple[dict[str, object], NDArray[np.bool_]]]:
    """What localisation scores are means over, as a key and a mask bool [n] of the samples counted.

    Lesions with a mask: the correctly classified ones ('correct_lesions'), then all of them ('lesions'); both pooled
    ('all') and by every label group that has one. correct bool [n]: what the evaluated model classified correctly;
    baselines are averaged over the same samples.
    """
    lesions = scorable(samples)
    of_group = {"all": lesions} | {name: used & lesions for name, used in groups(samples).items()}
    return [
        ({"population": population, "group_name": group}, chosen & used)
        for population, chosen in {"correct_lesions": correct, "lesions": np.ones_like(correct)}.items()
        for group, used in of_group.items()
        if group == "all" or used.any()
    ]
