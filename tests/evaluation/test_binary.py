"""Two-class views against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from lesionlens.evaluation.binary import binary_scores
from lesionlens.evaluation.bootstrap import Clusters, draw


def sample() -> tuple[np.ndarray, np.ndarray, Clusters]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 150)
    logits = generator.normal(size=(150, 5)) + np.eye(5)[labels]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities, labels, draw(np.array([f"P_{i // 2}" for i in range(150)]), 100, generator)


def test_malignant_against_the_other_lesions_leaves_background_out() -> None:
    probabilities, labels, clusters = sample()
    frame = binary_scores(probabilities, labels, (3, 4), (1, 2, 3, 4), clusters, 0.95)
    lesions = labels > 0
    truth = labels[lesions] >= 3
    score = probabilities[lesions][:, 3:].sum(axis=1) / probabilities[lesions][:, 1:].sum(axis=1)
    expected = [
        roc_auc_score(truth, score),
        ((score > 0.5) == truth).mean(),
        recall_score(truth, score > 0.5),
        recall_score(~truth, score <= 0.5),
    ]
    np.testing.assert_allclose(frame["value"].to_numpy(), expected, atol=1e-6)
    assert frame["n"].to_list() == [lesions.sum(), lesions.sum(), truth.sum(), (~truth).sum()]
    assert (frame["low"] < frame["value"]).all() and (frame["value"] < frame["high"]).all()


def test_a_view_without_one_side_has_no_auc_and_says_why() -> None:
    probabilities, labels, clusters = sample()
    frame = binary_scores(probabilities, np.zeros_like(labels), (1, 2, 3, 4), (0, 1, 2, 3, 4), clusters, 0.95)
    rows = {row["name"]: row for row in frame.iter_rows(named=True)}
    assert (rows["auc"]["value"], rows["auc"]["reason"]) == (None, "no_other_class")
    assert (rows["sensitivity"]["value"], rows["sensitivity"]["reason"]) == (None, "no_samples")
    assert rows["specificity"]["value"] is not None and rows["specificity"]["reason"] is None


@pytest.mark.parametrize("positive", [(), (1, 2), (0,)])
def test_positive_classes_must_be_a_proper_part(positive: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be some of"):
        binary_scores(*sample()[:2], positive, (1, 2), sample()[2], 0.95)
