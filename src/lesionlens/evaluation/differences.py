"""Does a map meet lesions better than what looks at no image? Paired differences from the baselines."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import DataType

from lesionlens.localization.samples import ScoredMaps, scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters
from lesionlens.scoring.means import Key, Mean, lesion_groups, means

DIFFERENCES: dict[str, DataType | type[DataType]] = {
    "method": pl.String,
    "target": pl.String,
    "policy": pl.String,
    "baseline": pl.String,
    "population": pl.String,
    "group_name": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "reason": pl.String,
}


def baseline_differences(
    patches: SampleArrays,
    correct: NDArray[np.bool_],
    explanations: Sequence[ScoredMaps],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """Mean IoU of every map minus that of every baseline, lesion by lesion, with its interval.

    correct bool [n] as in `localization_scores`, whose populations and groups these are; `difference` is ll minus the
    baseline's ll, since both are means over the same lesions. Resampling the differences themselves is sharper than
    two intervals side by side: lesions that are hard for one are often hard for the other. Columns: DIFFERENCES, with
    `value` as `difference`; null with a reason where there is no lesion, or an interval alone from one patient.
    """
    lesions = scorable(patches)
    populations = {"correct_lesions": lesions & correct, "lesions": lesions}
    wanted = [
        Mean(key | {"population": population, "group_name": group}, gap, chosen & used & ~np.isnan(gap))
        for key, gap in _gaps(explanations)
        for population, chosen in populations.items()
        for group, used in lesion_groups(patches, lesions).items()
    ]
    return means(wanted, clusters, confidence, shares=False).frame(DIFFERENCES).rename({"value": "difference"})


def _gaps(explanations: Sequence[ScoredMaps]) -> Iterator[tuple[Key, NDArray[np.float64]]]:
    """Every map under every policy beside every baseline: IoU minus IoU, float64 [n]."""
    baselines = [e for e in explanations if e.target == "none" or e.method == "random_weights"]
    for e in explanations:
        if e in baselines:
            continue
        for policy, cut in e.cuts.items():
            for baseline in baselines:
                other = baseline.cuts["mask" if baseline.target == "none" else policy]
                key: Key = {"method": e.method, "target": e.target, "policy": policy, "baseline": baseline.method}
                yield key, cut.iou - other.iou
