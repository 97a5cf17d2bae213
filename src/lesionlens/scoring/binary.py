"""Two-class views of the same predictions: malignant against the other lesions, lesion against background."""

from collections.abc import Collection

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchmetrics.functional.classification import binary_auroc

from lesionlens.frames import FRAMES
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, proportion_interval, resampled_auc
from lesionlens.scoring.means import OVERALL, Mean, means, score_frame

# What a pathology begins with, in capitals, as CBIS-DDSM and most pathology reports word it.
MALIGNANT, BENIGN = "MALIGNANT", "BENIGN"


View = tuple[list[int], list[int]]
"""Label ordinals of the positive classes, and of all classes that enter."""


def binary_views(samples: SampleArrays, attributes: pl.DataFrame, positive: Collection[str] = ()) -> dict[str, View]:
    """The views that the data set allows, by name.

    lesion: classes with lesions against those without. malignant: the classes of these codes against all other classes
    with lesions; without codes, classes that are malignant against those that are benign, where every class with
    lesions is one or the other: by their codes, which begin with these words in any case, or by the pathologies of all
    their lesions (attributes: sample_id, pathology). Classes without a sample do not enter. A view without two sides is
    left out. Raises ValueError for a code that is not one of a class with lesions.
    """
    known = {samples.classes[label] for label in np.unique(samples.labels[samples.has_mask])}
    if set(positive) - known:
        raise ValueError(
            f"data.positive names {', '.join(sorted(set(positive) - known))}: choose among the classes with lesions, "
            f"{', '.join(sorted(known))}"
        )
    present = {int(label) for label in np.unique(samples.labels)}
    lesion = {int(label) for label in np.unique(samples.labels[samples.has_mask])}
    views = {}
    if lesion and present - lesion:
        views["lesion"] = (sorted(lesion), sorted(present))
    if positive:
        malignant = {label for label in lesion if samples.classes[label] in positive}
        benign = lesion - malignant
    else:
        malignant = {label for label in lesion if _all_begin(samples, attributes, label, MALIGNANT)}
        benign = {label for label in lesion if _all_begin(samples, attributes, label, BENIGN)}
    if malignant and benign and malignant | benign == lesion:
        views["malignant"] = (sorted(malignant), sorted(lesion))
    return views


def _all_begin(samples: SampleArrays, attributes: pl.DataFrame, label: int, word: str) -> bool:
    if samples.classes[label].upper().startswith(word):
        return True
    chosen = pl.Series(samples.ids[(samples.labels == label) & samples.has_mask])
    if "pathology" not in attributes.columns:
        return False
    found = attributes.filter(pl.col("sample_id").is_in(chosen.implode()))["pathology"]
    return bool(found.len() and found.str.to_uppercase().str.starts_with(word).fill_null(False).all())


def pathology_of(samples: SampleArrays, attributes: pl.DataFrame) -> NDArray[np.int64]:
    """Every sample's pathology, int64 [n]: 1 malignant, 0 benign, -1 where there is no lesion or it is not known."""
    if "pathology" not in attributes.columns:
        return np.full(len(samples.ids), -1, dtype=np.int64)
    joined = pl.DataFrame({"sample_id": samples.ids}).join(
        attributes.select("sample_id", pl.col("pathology").str.to_uppercase().fill_null("")),
        on="sample_id", how="left", maintain_order="left",
    )  # fmt: skip
    words = joined["pathology"].fill_null("")
    found = np.where(words.str.starts_with(MALIGNANT), 1, np.where(words.str.starts_with(BENIGN), 0, -1))
    found[~samples.has_mask] = -1
    return found.astype(np.int64)


def pathology_asked(samples: SampleArrays, attributes: pl.DataFrame, positive: Collection[str] = ()) -> bool:
    """Whether classes are neither malignant nor benign, and training lesions of both pathologies are known."""
    known = pathology_of(samples, attributes)[samples.splits == "train"]
    return "malignant" not in binary_views(samples, attributes, positive) and {0, 1} <= set(known.tolist())


def pathology_scores(
    trained: NDArray[np.float32] | None,
    probabilities: NDArray[np.float32],
    samples: SampleArrays,
    attributes: pl.DataFrame,
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """pathology_auc, _accuracy, _sensitivity and _specificity of malignant lesions, told from the scores of classes.

    A logistic regression on the classes' log-probabilities, which are their logits up to a constant, learnt on the
    training split, as Barnett et al. (2021) tell malignancy from margins. trained, probabilities: of the training and
    test split, [n, classes], `trained` None where nothing is asked: no rows then. attributes: as `pathology_of`.
    Frame: run_scores.
    """
    if trained is None:
        return pl.DataFrame(schema=FRAMES["run_scores"])
    pathologies = pathology_of(samples, attributes)
    learnt, asked = pathologies[samples.splits == "train"], pathologies[samples.splits == "test"]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(_logs(trained)[learnt >= 0], learnt[learnt >= 0])
    chances = model.predict_proba(_logs(probabilities)).astype(np.float32)
    return binary_scores("pathology", chances, asked, (1,), (0, 1), clusters, confidence)


def _logs(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
    return found


def diagnosis_sides(samples: SampleArrays, views: dict[str, View]) -> NDArray[np.int64]:
    """What the diagnosis tells apart, int64 [n]: 1 and 0 by the view malignant, else the label; -1 without a lesion."""
    sides = samples.labels.copy()
    if "malignant" in views:
        sides = np.isin(samples.labels, views["malignant"][0]).astype(np.int64)
    sides[~samples.has_mask] = -1
    return sides


def view_scores(
    views: dict[str, View],
    probabilities: NDArray[np.float32],
    flips: NDArray[np.float32] | None,
    labels: NDArray[np.int64],
    clusters: Clusters,
    confidence: float,
) -> list[pl.DataFrame]:
    """`binary_scores` of every view; of the view malignant also by the means over flips [n, classes], as `flips`."""
    asked = [(name, probabilities, view) for name, view in views.items()]
    if flips is not None and "malignant" in views:
        asked.append(("flips", flips, views["malignant"]))
    return [binary_scores(name, chances, labels, *view, clusters, confidence) for name, chances, view in asked]


def binary_scores(
    view: str,
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    positive: Collection[int],
    among: Collection[int],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """{view}_auc, _accuracy, _sensitivity and _specificity of `positive` classes against the rest of those `among`.

    Samples of other classes do not enter; probabilities of other classes do not either: the score of a sample is its
    probability of a positive class given that it is of a class `among`, and it counts as positive above 0.5. So
    malignant against benign lesions is independent of background: a lesion predicted as background with 0.97 counts by
    the remaining 0.03. Frame: run_scores; reason 'no_samples' or 'no_other_class'. Raises ValueError where `positive`
    is not a proper subset of `among`.
    """
    if not set(positive) or not set(positive) < set(among):
        raise ValueError(
            f"binary view {view}: the positive classes {sorted(positive)} must be some of {sorted(among)}, not all"
        )
    inside = np.isin(labels, list(among))
    truth = np.isin(labels, list(positive))
    score = conditional(probabilities, positive, among)
    right = ((score > 0.5) == truth).astype(np.float64)
    sides = {"accuracy": inside, "sensitivity": inside & truth, "specificity": inside & ~truth}
    wanted = [Mean(OVERALL | {"name": f"{view}_{name}"}, right, used) for name, used in sides.items()]
    within = Clusters(clusters.member[inside], clusters.counts)
    patients = within.patients(np.stack([truth[inside], ~truth[inside]], axis=1)).min()
    resampled = resampled_auc(score[inside], truth[inside], within)[:, None]
    low, high = proportion_interval(resampled, confidence, patients)
    area, count = np.array([_auc(score[inside], truth[inside])]), np.array([int(inside.sum())])
    auc = score_frame(FRAMES["run_scores"], [OVERALL | {"name": f"{view}_auc"}], area, low, high, count)
    return pl.concat([auc, means(wanted, clusters, confidence).frame(FRAMES["run_scores"])])


def conditional(
    probabilities: NDArray[np.float32], positive: Collection[int], among: Collection[int]
) -> NDArray[np.float32]:
    """Probability of a `positive` class given that it is one of those `among`: [n, classes] -> float32 [n].

    >>> conditional(np.array([[0.5, 0.1, 0.4]], dtype=np.float32), [2], [1, 2]).round(2).tolist()
    [0.800000011920929]
    """
    part = probabilities[:, list(positive)].sum(axis=1, dtype=np.float64)
    whole = probabilities[:, list(among)].sum(axis=1, dtype=np.float64)
    found: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return found.astype(np.float32)


def _auc(score: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    if not truth.any() or truth.all():
        return float("nan")
    return float(binary_auroc(torch.from_numpy(score), torch.from_numpy(truth.astype(np.int64)), thresholds=None))
