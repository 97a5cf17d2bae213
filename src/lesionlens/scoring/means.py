"""Means over samples with intervals: many at once, from one set of patient resamples."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import DataType

from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, interval, proportion_interval, ratios

Key = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """A score that is a mean over samples: values float64 [n] over those `used` bool [n]; `key` names it."""

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

    def frame(self, schema: dict[str, DataType | type[DataType]]) -> pl.DataFrame:
        """The keys with value, low, high, n and reason, in the columns of `schema`."""
        return score_frame(self.keys, self.value, self.low, self.high, self.n, schema)


def means(wanted: list[Mean], clusters: Clusters, confidence: float, shares: bool = True) -> Means:
    """All means with their percentile intervals. Values outside `used` may be NaN; `shares`: where the others are all 0
    or 1 their mean is a share (`proportion_interval`)."""
    samples = len(clusters.member)
    used = np.stack([mean.used for mean in wanted], axis=1) if wanted else np.zeros((samples, 0), dtype=np.bool_)
    values = np.stack([mean.values for mean in wanted], axis=1) if wanted else np.zeros((samples, 0))
    values = np.where(used, values, 0.0)
    count = used.sum(axis=0)
    point = np.divide(values.sum(axis=0), count, out=np.full(len(wanted), np.nan), where=count > 0)
    resampled = ratios(values, used, clusters)
    patients = clusters.patients(used)
    low, high = interval(resampled, confidence, patients)
    if shares:
        yes_or_no = ((values == 0) | (values == 1)).all(axis=0)  # 0 where not used
        low[yes_or_no], high[yes_or_no] = proportion_interval(resampled[:, yes_or_no], confidence, patients[yes_or_no])
    return Means([mean.key for mean in wanted], point, low, high, count, patients, resampled)


def score_frame(
    keys: list[Key],
    value: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    n: NDArray[np.int64],
    schema: dict[str, DataType | type[DataType]],
) -> pl.DataFrame:
    """Scores as rows. NaN becomes null with the reason 'no_samples', or 'no_other_class' where there were samples; a
    score without an interval has the reason 'one_patient'."""
    names = [name for name in schema if name not in ("value", "low", "high", "n", "reason")]
    frame = pl.DataFrame(keys, schema={name: schema[name] for name in names})
    frame = frame.with_columns(value=value, low=low, high=high, n=pl.Series(n, dtype=pl.Int64))
    frame = frame.with_columns(pl.col("value", "low", "high").fill_nan(None))
    empty = pl.when(pl.col("n") == 0).then(pl.lit("no_samples")).otherwise(pl.lit("no_other_class"))
    alone = pl.when(pl.col("low").is_null()).then(pl.lit("one_patient"))
    frame = frame.with_columns(reason=pl.when(pl.col("value").is_null()).then(empty).otherwise(alone))
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())


def groups(patches: SampleArrays) -> dict[str, NDArray[np.bool_]]:
    """Samples bool [n] of every label group, in the order of the labels."""
    of_sample = np.array(patches.groups)[patches.labels]
    return {group: of_sample == group for group in dict.fromkeys(patches.groups)}


def lesion_groups(patches: SampleArrays, lesions: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """'all' and every label group that has a sample in `lesions` bool [n]."""
    return {"all": lesions} | {name: used for name, used in groups(patches).items() if (used & lesions).any()}
