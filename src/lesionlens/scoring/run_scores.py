"""Every score of one evaluation with its interval, from one set of patient resamples."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import DataType

from lesionlens.frames import FRAMES
from lesionlens.localization.curves import CURVE
from lesionlens.localization.samples import ScoredMaps, scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, interval, proportion_interval, ratios, resampled_auc
from lesionlens.scoring.classification import averages, class_auc, confusion_matrix, mean_defined, resampled_confusion
from lesionlens.scoring.means import Key, Mean, groups, lesion_groups, means, score_frame

RUN_SCORES = FRAMES["run_scores"]
IOU_CURVES: dict[str, DataType | type[DataType]] = {
    "method": pl.String,
    "target": pl.String,
    "population": pl.String,
    "group_name": pl.String,
    "threshold": pl.Float64,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "reason": pl.String,
}


def classification_scores(
    patches: SampleArrays, probabilities: NDArray[np.float32], clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """accuracy, macro and weighted precision, recall and F1, auc and auc_hard (means over classes); over all samples.

    Accuracy also within every label group. AUC means cover the classes that have one.
    """
    labels, classes = patches.labels, probabilities.shape[1]
    counts = confusion_matrix(probabilities, labels)
    values = averages(counts)
    resampled = averages(resampled_confusion(probabilities, labels, clusters), drawn_from=counts)
    values["auc"] = mean_defined(class_auc(probabilities, labels))
    by_class = [resampled_auc(probabilities[:, c], labels == c, clusters) for c in range(classes)]
    resampled["auc"] = mean_defined(np.stack(by_class, axis=1))
    names = list(values)
    point = np.array([float(values[name]) for name in names])
    patients = len(np.unique(clusters.member))
    low, high = proportion_interval(np.stack([resampled[name] for name in names], axis=1), confidence, patients)
    keys = [score_key(name) for name in names]
    frame = score_frame(keys, point, low, high, np.full(len(names), len(labels)), RUN_SCORES)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    within = [Mean(score_key("accuracy", group=g), correct, used) for g, used in groups(patches).items()]
    return pl.concat([frame, means(within, clusters, confidence).frame(RUN_SCORES)])


def localization_scores(
    patches: SampleArrays,
    correct: NDArray[np.bool_],
    explanations: Sequence[ScoredMaps],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """ll (mean IoU) by policy, hit_rate, energy, rank_accuracy and pixel_ap, over correctly classified lesions and
    over all lesions, pooled and by label group; and acc_x_ll, accuracy times ll, for each population, pooled.

    correct bool [n]: what the evaluated model classified correctly; baselines are averaged over the same samples.
    Blank maps count 0. `n` is the number of samples in the mean. Where no threshold could be tuned the reason is
    'no_validation_lesions'.
    """
    lesions = scorable(patches)
    populations = {"correct_lesions": lesions & correct, "lesions": lesions}
    wanted = [
        Mean(score_key(name, e, policy, population, group), values, chosen & used & ~np.isnan(values))
        for e in explanations
        for name, policy, values in _sample_scores(e)
        for population, chosen in populations.items()
        for group, used in lesion_groups(patches, lesions).items()
    ]
    found = means(wanted, clusters, confidence)
    columns = [
        column
        for column, key in enumerate(found.keys)
        if key["name"] == "ll"
        and key["group_name"] == "all"
        and key["target"] != "none"
        and key["method"] != "random_weights"
    ]
    right = correct.astype(np.float64)
    accuracy = ratios(right[:, None], np.ones((len(right), 1), dtype=np.bool_), clusters)
    low, high = interval(accuracy * found.resampled[:, columns], confidence, found.patients[columns])
    keys = [found.keys[column] | {"name": "acc_x_ll"} for column in columns]
    products = score_frame(keys, found.value[columns] * right.mean(), low, high, found.n[columns], RUN_SCORES)
    untuned = [
        (pl.col("method") == e.method) & (pl.col("target") == e.target) & (pl.col("policy") == "validation")
        for e in explanations
        if "validation" in e.cuts and lesions.any() and np.isnan(e.cuts["validation"].iou[lesions]).all()
    ]
    reason = pl.when(pl.any_horizontal(pl.lit(False), *untuned)).then(pl.lit("no_validation_lesions"))
    return pl.concat([found.frame(RUN_SCORES), products]).with_columns(reason=reason.otherwise(pl.col("reason")))


def iou_curves(
    patches: SampleArrays,
    correct: NDArray[np.bool_],
    explanations: Sequence[ScoredMaps],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """Mean IoU at every threshold 0.05, 0.10, ... 0.95, over the same populations and groups as ll."""
    lesions = scorable(patches)
    populations = {"correct_lesions": lesions & correct, "lesions": lesions}
    wanted: list[Mean] = []
    for e in explanations:
        for population, chosen in populations.items():
            for group, used in lesion_groups(patches, lesions).items():
                key: Key = {"method": e.method, "target": e.target, "population": population, "group_name": group}
                wanted += [
                    Mean(key | {"threshold": round(float(level), 2)}, e.scores.curve[:, k], chosen & used)
                    for k, level in enumerate(CURVE)
                ]
    return means(wanted, clusters, confidence).frame(IOU_CURVES).rename({"value": "iou"})


def _sample_scores(explanation: ScoredMaps) -> list[tuple[str, str | None, NDArray[np.float64]]]:
    scores = explanation.scores
    named: list[tuple[str, str | None, NDArray[np.float64]]] = [
        ("ll", policy, cut.iou) for policy, cut in explanation.cuts.items()
    ]
    return [
        *named,
        ("hit_rate", None, scores.hit.astype(np.float64)),
        ("energy", None, scores.energy),
        ("rank_accuracy", None, scores.rank_accuracy),
        ("pixel_ap", None, scores.pixel_ap),
    ]


def score_key(
    name: str,
    explanation: ScoredMaps | None = None,
    policy: str | None = None,
    population: str = "all",
    group: str = "all",
) -> Key:
    """What identifies a row of RUN_SCORES."""
    method, target = (explanation.method, explanation.target) if explanation else (None, None)
    return {
        "name": name,
        "method": method,
        "target": target,
        "policy": policy,
        "population": population,
        "group_name": group,
    }
