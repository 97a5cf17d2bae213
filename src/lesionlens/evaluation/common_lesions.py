"""LL over the lesions that every model of a study classifies correctly: the only LL whose means can be compared."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import DataType

from lesionlens.config import EvaluationConfig
from lesionlens.scoring.bootstrap import draw, interval, ratios
from lesionlens.scoring.means import Key, Mean, means, score_frame
from lesionlens.scoring.run_scores import RUN_SCORES

STUDY_SCORES: dict[str, DataType | type[DataType]] = {"evaluation_id": pl.Int64, **RUN_SCORES}
BASELINES = ("whole_patch", "centred_disc", "mean_mask", "random_weights")
KEY = ["method", "target", "policy"]


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
