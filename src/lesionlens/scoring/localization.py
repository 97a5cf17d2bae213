"""LL over the lesions that every model of a study classifies correctly: the only LL whose means can be compared."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import DataType

from lesionlens.config import EvaluationConfig
from lesionlens.localization.samples import ScoredMaps, scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, draw, interval, ratios
from lesionlens.scoring.means import Key, Mean, lesion_groups, means, score_frame
from lesionlens.scoring.run_scores import RUN_SCORES

STUDY_SCORES: dict[str, DataType | type[DataType]] = {"evaluation_id": pl.Int64, **RUN_SCORES}
BASELINES = ("whole_patch", "centred_disc", "mean_mask", "random_weights")
KEY = ["method", "target", "policy"]
WRONG_CLASS: dict[str, DataType | type[DataType]] = {
    "run_id": pl.Int64,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
}


def common_scores(
    samples: pl.DataFrame, localizations: pl.DataFrame, evaluation: EvaluationConfig, seed: int
) -> pl.DataFrame:
    """ll and acc_x_ll of every evaluation over the common correct lesions, pooled and by label group.

    samples: evaluation_id, sample_id, patient, group_name, correct; localizations: evaluation_id, sample_id, method,
    target, policy, iou (null where there is none). Rows (STUDY_SCORES): one per evaluation, map or baseline, policy
    and group, population 'common_lesions'; value null with reason 'no_samples' where no lesion is common.
    """
    evaluations = sorted(samples["evaluation_id"].unique().to_list())
    if not evaluations:
        return pl.DataFrame(schema=STUDY_SCORES)
    counted = samples.group_by("sample_id").agg(right=pl.col("correct").sum(), seen=pl.len())
    common = counted.filter(right=len(evaluations), seen=len(evaluations))["sample_id"]
    frames = []
    for number in evaluations:
        rows = samples.filter(evaluation_id=number).sort("sample_id")
        located = localizations.filter(evaluation_id=number)
        chosen = rows["sample_id"].is_in(common.implode()).to_numpy()
        scores = _of_one(rows, located, chosen, evaluation, seed)
        frames.append(scores.select(pl.lit(number, dtype=pl.Int64).alias("evaluation_id"), *RUN_SCORES))
    return pl.concat(frames)


def _of_one(
    rows: pl.DataFrame, located: pl.DataFrame, chosen: NDArray[np.bool_], evaluation: EvaluationConfig, seed: int
) -> pl.DataFrame:
    clusters = draw(rows["patient"].to_numpy(), evaluation.resamples, np.random.default_rng(seed))
    wanted = []
    for (method, target, policy), part in located.sort(KEY).group_by(KEY, maintain_order=True):
        joined = rows.select("sample_id", "group_name").join(part, on="sample_id", how="left", maintain_order="left")
        iou = joined["iou"].fill_null(np.nan).to_numpy()
        of_group = joined["group_name"].to_numpy()
        for group in ("all", *np.unique(of_group[~np.isnan(iou)])):
            key: Key = {"name": "ll", "method": method, "target": target, "policy": policy}
            used = chosen & ~np.isnan(iou) & ((of_group == group) | (group == "all"))
            wanted.append(Mean(key | {"population": "common_lesions", "group_name": str(group)}, iou, used))
    found = means(wanted, clusters, evaluation.confidence)
    columns = [n for n, key in enumerate(found.keys) if key["group_name"] == "all" and key["method"] not in BASELINES]
    right = rows["correct"].cast(pl.Float64).to_numpy()
    accuracy = ratios(right[:, None], np.ones((len(right), 1), dtype=np.bool_), clusters)
    low, high = interval(accuracy * found.resampled[:, columns], evaluation.confidence, found.patients[columns])
    keys = [found.keys[column] | {"name": "acc_x_ll"} for column in columns]
    products = score_frame(keys, found.value[columns] * right.mean(), low, high, found.n[columns], RUN_SCORES)
    return pl.concat([found.frame(RUN_SCORES), products])


def wrong_class_scores(samples: pl.DataFrame, resamples: int, confidence: float, seed: int) -> pl.DataFrame:
    """Mean IoU over the lesions whose predicted class is wrong, with its interval.

    samples: run_id, patient, correct, confidence, iou (null where there is none). One row per run that has such
    lesions: run_id, value, low, high (null where all are of one patient), n.
    """
    wrong = samples.drop_nulls(["iou", "confidence"]).filter(~pl.col("correct"))
    found = []
    for (run_id,), lesions in wrong.group_by("run_id", maintain_order=True):
        iou = lesions["iou"].to_numpy()
        clusters = draw(lesions["patient"].to_numpy(), resamples, np.random.default_rng(seed))
        scores = means([Mean({"run_id": run_id}, iou, np.ones(len(iou), dtype=np.bool_))], clusters, confidence)
        found.append(scores.frame(WRONG_CLASS))
    return pl.concat(found) if found else pl.DataFrame(schema=WRONG_CLASS)


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
