"""Classification scores against scikit-learn, and the study's Table III from its own Tables."""

import json
from importlib.resources import files

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, draw
from lesionlens.scoring.classification import (
    auc_hard,
    averages,
    class_auc,
    class_scores,
    classification_scores,
    confusion_intervals,
    confusion_matrix,
)


def sample(count: int = 200, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    logits = generator.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32), labels


def one_each(labels: np.ndarray) -> Clusters:
    """Resamples of as many patients as samples."""
    return draw(np.arange(len(labels)).astype(np.str_), 20, np.random.default_rng(0))


def test_class_scores_are_scikit_learn() -> None:
    probabilities, labels = sample()
    frame = class_scores(probabilities, labels, one_each(labels), 0.95)
    expected = precision_recall_fscore_support(labels, probabilities.argmax(axis=1))
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(frame[name].to_numpy(), values, atol=1e-6)
    auc = [roc_auc_score(labels == c, probabilities[:, c]) for c in range(5)]
    np.testing.assert_allclose(frame["auc"].to_numpy(), auc, atol=1e-6)
    hard = [roc_auc_score(labels == c, probabilities.argmax(axis=1) == c) for c in range(5)]
    np.testing.assert_allclose(frame["auc_hard"].to_numpy(), hard, atol=1e-6)
    assert frame["reason"].null_count() == 5


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_averages_are_scikit_learn_also_where_a_class_is_absent(average: str) -> None:
    probabilities, labels = sample(classes=5)
    probabilities[:, 4], probabilities[:, 3] = 0, 0
    labels = np.where(labels == 4, 0, labels)
    scores = averages(confusion_matrix(probabilities, labels))
    guess = probabilities.argmax(axis=1)
    expected = precision_recall_fscore_support(labels, guess, average=average, zero_division=0)
    found = [scores[f"{average}_{name}"] for name in ("precision", "recall", "f1")]
    np.testing.assert_allclose(found, expected[:3], atol=1e-9)
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, guess))


def test_class_intervals_are_those_of_resampled_scikit_learn() -> None:
    probabilities, labels = sample(count=600)
    clusters = draw(np.array([f"P_{i % 300}" for i in range(600)]), 60, np.random.default_rng(0))
    frame = class_scores(probabilities, labels, clusters, 0.95)
    guess, drawn = probabilities.argmax(axis=1), []
    for weights in clusters.weights(0, 60):
        *scores, _ = precision_recall_fscore_support(labels, guess, sample_weight=weights, zero_division=0)
        auc = [roc_auc_score(labels == c, probabilities[:, c], sample_weight=weights) for c in range(5)]
        hard = [roc_auc_score(labels == c, guess == c, sample_weight=weights) for c in range(5)]
        drawn.append([*scores, auc, hard])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    for n, name in enumerate(("precision", "recall", "f1", "auc", "auc_hard")):
        np.testing.assert_allclose(frame[f"{name}_low"].to_numpy(), low[n], atol=1e-6)
        np.testing.assert_allclose(frame[f"{name}_high"].to_numpy(), high[n], atol=1e-6)
    absent = class_scores(probabilities, np.where(labels == 2, 1, labels), clusters, 0.95)
    assert absent["auc_low"].to_list()[2] is None and absent["recall_low"].to_list()[2] is None


def test_a_class_of_one_patient_has_scores_but_no_intervals() -> None:
    probabilities, labels = sample()
    order = np.argsort(labels, kind="stable")
    labels, probabilities = labels[order], probabilities[order]
    names = np.where(labels == 4, "alone", np.arange(len(labels)).astype(np.str_))
    frame = class_scores(probabilities, labels, draw(names, 100, np.random.default_rng(0)), 0.95)
    intervals = frame.select("^.*_(low|high)$")
    assert intervals.row(4) == (None,) * 10 and all(bound is not None for bound in intervals.row(3))


def test_confusion_intervals_are_those_of_resampled_scikit_learn() -> None:
    probabilities, labels = sample(count=600)
    probabilities[labels == 2, 0] = 0  # never taken for it
    clusters = draw(np.array([f"P_{i % 300}" for i in range(600)]), 200, np.random.default_rng(0))
    frame = confusion_intervals(probabilities, labels, clusters, 0.9)
    guess = probabilities.argmax(axis=1)
    drawn = [
        sklearn_confusion(labels, guess, labels=range(5), sample_weight=weights, normalize="true")
        for weights in clusters.weights(0, 200)
    ]
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    assert frame.select("label", "predicted").rows() == [(true, taken) for true in range(5) for taken in range(5)]
    never = high.ravel() == 0
    assert 0 < never.sum() < 10 and (frame["high"].to_numpy()[never] > 0.02).all()
    np.testing.assert_allclose(frame["low"].to_numpy(), low.ravel(), atol=1e-9)
    np.testing.assert_allclose(frame["high"].to_numpy()[~never], high.ravel()[~never], atol=1e-9)
    recall = class_scores(probabilities, labels, clusters, 0.9)
    on_diagonal = frame.filter(pl.col("label") == pl.col("predicted"))
    for end in ("low", "high"):
        np.testing.assert_allclose(on_diagonal[end].to_numpy(), recall[f"recall_{end}"].to_numpy(), atol=1e-12)


def test_a_resample_without_a_class_says_nothing_about_its_confusions() -> None:
    """Two patients have the class, both always recognised: no resample may count as a recall of 0. That two of two
    were recognised still says little."""
    labels = np.array([0] * 18 + [1, 1])
    probabilities = np.eye(2, dtype=np.float32)[labels]
    clusters = draw(np.arange(20).astype(np.str_), 500, np.random.default_rng(0))
    assert (clusters.sums((labels == 1)[:, None].astype(np.float64)) == 0).mean() > 0.05
    frame = confusion_intervals(probabilities, labels, clusters, 0.95)
    rare, frequent = 0.025 ** (1 / 2), 0.025 ** (1 / 18)
    expected = [(frequent, 1), (0, 1 - frequent), (0, 1 - rare), (rare, 1)]
    np.testing.assert_allclose(frame.select("low", "high").to_numpy(), expected)
    scores = class_scores(probabilities, labels, clusters, 0.95)
    for name in ("recall", "f1"):
        np.testing.assert_allclose(scores.select(f"{name}_low", f"{name}_high").to_numpy(), [(rare, 1), (rare, 1)])


def test_a_rare_class_that_was_not_drawn_does_not_pull_the_macro_mean_down() -> None:
    """Three patients have the class, all recognised; it is also predicted for others. Against a loop."""
    labels = np.array([0] * 30 + [1] * 30 + [2] * 3)
    guess = labels.copy()
    guess[[0, 1, 30]] = 2
    patches = SampleArrays(
        digest="d", classes=("a", "b", "c"), ids=np.arange(63), pixels=np.zeros((63, 2, 2), dtype=np.uint8),
        masks=np.zeros((63, 2, 2), dtype=np.bool_), labels=labels, splits=np.full(63, "test"),
        patients=np.arange(63).astype(np.str_), has_mask=np.zeros(63, dtype=np.bool_), groups=("g",) * 3,
        statistics=(),
    )  # fmt: skip
    clusters = draw(patches.patients, 400, np.random.default_rng(0))
    frame = classification_scores(patches, np.eye(3, dtype=np.float32)[guess], clusters, 0.95)
    drawn = []
    for weights in clusters.weights(0, 400):
        recalls = [np.average(guess[labels == c] == c, weights=weights[labels == c]) for c in range(3)
                   if weights[labels == c].any()]  # fmt: skip
        drawn.append(np.mean(recalls))
    assert (clusters.weights(0, 400)[:, 60:].sum(axis=1) == 0).any()
    row = frame.filter(name="macro_recall").row(0, named=True)
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert row["low"] > 0.9 and frame.filter(name="macro_f1")["low"][0] > 0.5


def test_confusions_of_one_patient_or_none_have_no_interval() -> None:
    probabilities, labels = sample(classes=3)
    labels = np.where(labels == 1, 0, labels)
    names = np.where(labels == 2, "alone", np.arange(len(labels)).astype(np.str_))
    frame = confusion_intervals(probabilities, labels, draw(names, 100, np.random.default_rng(0)), 0.95)
    without = frame.filter(pl.col("low").is_null() & pl.col("high").is_null())
    assert without["label"].to_list() == [1, 1, 1, 2, 2, 2]


def test_a_class_without_samples_has_no_auc_and_says_why() -> None:
    probabilities, labels = sample()
    frame = class_scores(probabilities, np.where(labels == 2, 1, labels), one_each(labels), 0.95)
    row = frame.row(2, named=True)
    assert (row["auc"], row["auc_hard"], row["reason"], row["support"]) == (None, None, "no_samples", 0)
    only = class_scores(probabilities, np.zeros_like(labels), one_each(labels), 0.95).row(0, named=True)
    assert (only["auc"], only["reason"]) == (None, "no_other_class")


def test_confusion_rows_are_true_classes() -> None:
    probabilities = np.eye(3, dtype=np.float32)[[1, 1, 2]]
    matrix = confusion_matrix(probabilities, np.array([0, 1, 2]))
    np.testing.assert_array_equal(matrix, [[0, 1, 0], [0, 1, 0], [0, 0, 1]])


def test_auc_without_any_class_to_compare_is_nan() -> None:
    probabilities, labels = sample(classes=3)
    assert np.isnan(class_auc(probabilities, np.ones_like(labels))).all()


def published() -> list[dict]:
    text = files("lesionlens.reporting.tables").joinpath("published.json").read_text()
    return json.loads(text)


def test_the_studys_table_three_is_auc_hard() -> None:
    study = published()
    codes = study["classes"]
    support = np.array([study["report_support"][code] for code in codes], dtype=np.float64)
    assert len(study["runs"]) == 4
    for run in study["runs"]:
        precision, recall = (np.array([run["report"][c][k] for c in codes]) for k in ("precision", "recall"))
        confusion = one_class_confusions(precision, recall, support)
        found = np.array([auc_hard(confusion[c])[0] for c in range(len(codes))])
        assert np.abs(found - [run["auc_hard"][code] for code in codes]).max() <= 0.012
        assert abs(found.mean() - run["auc_hard"]["mean"]) <= 0.007


def one_class_confusions(precision: np.ndarray, recall: np.ndarray, support: np.ndarray) -> np.ndarray:
    """For each class, counts [class, rest] x [class, rest] that have this precision, recall and support."""
    right = recall * support
    false_positive = right / precision - right
    rest = support.sum() - support
    cells = [[right, support - right], [false_positive, rest - false_positive]]
    return np.moveaxis(np.array(cells), -1, 0)
