"""Every score of one evaluation with its interval, from one set of patient resamples."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars import DataType

from lesionlens.evaluation.auc import resampled_auc
from lesionlens.evaluation.bootstrap import Clusters, interval, ratios
from lesionlens.evaluation.explanations import Explanation, scorable
from lesionlens.evaluation.scores import averages, class_auc, confusion_matrix, mean_defined
from lesionlens.records import PatchArrays

RUN_SCORES: dict[str, DataType | type[DataType]] = {
    "name": pl.String,
    "method": pl.String,
    "target": pl.String,
    "policy": pl.String,
    "population": pl.String,
    "group_name": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "reason": pl.String,
}


@dataclass(frozen=True, slots=True, eq=False)
class _Mean:
    """A score that is a mean over samples: values float64 [n] over those `used` bool [n]."""

    key: dict[str, str | None]
    values: NDArray[np.float64]
    used: NDArray[np.bool_]


def classification_scores(
    patches: PatchArrays, probabilities: NDArray[np.float32], clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """accuracy, macro and weighted precision, recall and F1, auc and auc_hard (means over classes); over all samples.

    Accuracy also within every label group. AUC means cover the classes that have one.
    """
    labels, classes = patches.labels, probabilities.shape[1]
    values = averages(confusion_matrix(probabilities, labels))
    cells = np.zeros((len(labels), classes * classes))
    cells[np.arange(len(labels)), labels * classes + probabilities.argmax(axis=1)] = 1
    resampled = averages(clusters.sums(cells).reshape(-1, classes, classes))
    values["auc"] = mean_defined(class_auc(probabilities, labels))
    by_class = [resampled_auc(probabilities[:, c], labels == c, clusters) for c in range(classes)]
    resampled["auc"] = mean_defined(np.stack(by_class, axis=1))
    names = list(values)
    point = np.array([float(values[name]) for name in names])
    low, high = interval(np.stack([resampled[name] for name in names], axis=1), confidence)
    keys: list[dict[str, str | None]] = [_key(name, population="all") for name in names]
    frame = _frame(keys, point, low, high, np.full(len(names), len(labels)))
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    groups = [_Mean(_key("accuracy", population="all", group=g), correct, u) for g, u in _groups(patches).items()]
    return pl.concat([frame, _means(groups, clusters, confidence)[0]])


def localization_scores(
    patches: PatchArrays,
    correct: NDArray[np.bool_],
    explanations: list[Explanation],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """ll (mean IoU) by policy, hit_rate, energy, rank_accuracy and pixel_ap, over correctly classified lesions and
    over all lesions, pooled and by label group; and acc_x_ll, accuracy times the LL over correct lesions.

    correct bool [n]: what the evaluated model classified correctly; baselines are averaged over the same samples.
    Blank maps count 0. `n` is the number of samples in the mean.
    """
    lesions = scorable(patches)
    populations = {"correct_lesions": lesions & correct, "lesions": lesions}
    groups = {"all": lesions} | {name: used for name, used in _groups(patches).items() if (used & lesions).any()}
    means = [
        _Mean(_key(name, e, policy, population, group), values, chosen & used & ~np.isnan(values))
        for e in explanations
        for name, policy, values in _sample_scores(e)
        for population, chosen in populations.items()
        for group, used in groups.items()
    ]
    frame, resampled = _means(means, clusters, confidence)
    products = [
        column
        for column, mean in enumerate(means)
        if mean.key["name"] == "ll"
        and (mean.key["population"], mean.key["group_name"]) == ("correct_lesions", "all")
        and mean.key["target"] != "none"
        and mean.key["method"] != "random_weights"
    ]
    right = correct.astype(np.float64)
    accuracy = ratios(right[:, None], np.ones((len(right), 1), dtype=np.bool_), clusters)
    low, high = interval(accuracy * resampled[:, products], confidence)
    values = frame["value"].to_numpy()[products] * right.mean()
    keys = [means[column].key | {"name": "acc_x_ll"} for column in products]
    return pl.concat([frame, _frame(keys, values, low, high, frame["n"].to_numpy()[products])])


def _sample_scores(explanation: Explanation) -> list[tuple[str, str | None, NDArray[np.float64]]]:
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


def _means(means: list[_Mean], clusters: Clusters, confidence: float) -> tuple[pl.DataFrame, NDArray[np.float64]]:
    """The frame of these scores and their resampled values [resamples, scores]."""
    used = np.stack([mean.used for mean in means], axis=1)
    values = np.stack([np.where(mean.used, mean.values, 0.0) for mean in means], axis=1)
    count = used.sum(axis=0)
    point = np.divide(values.sum(axis=0), count, out=np.full(len(means), np.nan), where=count > 0)
    resampled = ratios(values, used, clusters)
    low, high = interval(resampled, confidence)
    return _frame([mean.key for mean in means], point, low, high, count), resampled


def _frame(
    keys: list[dict[str, str | None]],
    value: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    count: NDArray[np.int64],
) -> pl.DataFrame:
    frame = pl.DataFrame(keys, schema={name: pl.String for name in list(RUN_SCORES)[:6]})
    frame = frame.with_columns(value=value, low=low, high=high, n=pl.Series(count, dtype=pl.Int64))
    frame = frame.with_columns(pl.col("value", "low", "high").fill_nan(None))
    undefined = pl.when(pl.col("value").is_null())
    reason = undefined.then(pl.when(pl.col("n") == 0).then(pl.lit("no_samples")).otherwise(pl.lit("no_other_class")))
    return frame.with_columns(reason=reason).select(pl.col(name).cast(kind) for name, kind in RUN_SCORES.items())


def _key(
    name: str,
    explanation: Explanation | None = None,
    policy: str | None = None,
    population: str = "all",
    group: str = "all",
) -> dict[str, str | None]:
    method, target = (explanation.method, explanation.target) if explanation else (None, None)
    return {
        "name": name,
        "method": method,
        "target": target,
        "policy": policy,
        "population": population,
        "group_name": group,
    }


def _groups(patches: PatchArrays) -> dict[str, NDArray[np.bool_]]:
    """Samples of every label group, in the order of the labels."""
    of_sample = np.array(patches.groups)[patches.labels]
    return {group: of_sample == group for group in dict.fromkeys(patches.groups)}
