"""Two-class views against scikit-learn."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from lesionlens.records import SampleArrays
from lesionlens.scoring.binary import binary_scores, binary_views, pathology_asked, pathology_of, pathology_scores
from lesionlens.scoring.bootstrap import Clusters, draw


def sample() -> tuple[np.ndarray, np.ndarray, Clusters]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 150)
    logits = generator.normal(size=(150, 5)) + np.eye(5)[labels]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities, labels, draw(np.array([f"P_{i // 2}" for i in range(150)]), 100, generator)


def test_malignant_against_the_other_lesions_leaves_background_out() -> None:
    probabilities, labels, clusters = sample()
    frame = binary_scores("malignant", probabilities, labels, (3, 4), (1, 2, 3, 4), clusters, 0.95)
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


def test_malignant_or_benign_is_asked_of_lesions_whatever_they_are_taken_for() -> None:
    """All lesions are called background: the view of malignancy does not see it, the view of lesions does."""
    labels = np.arange(40) % 4 + 1
    probabilities = np.full((40, 5), 0.005, np.float32)
    probabilities[np.arange(40), labels] = 0.015
    probabilities[:, 0] = 0.97
    clusters = draw(np.arange(40).astype(np.str_), 100, np.random.default_rng(0))
    frame = binary_scores("malignant", probabilities, labels, (3, 4), (1, 2, 3, 4), clusters, 0.95)
    assert frame.filter(name="malignant_sensitivity")["value"][0] == frame.filter(name="malignant_auc")["value"][0] == 1
    assert 0.5 < frame.filter(name="malignant_sensitivity")["low"][0] < 1
    lesion = binary_scores("lesion", probabilities, labels, (1, 2, 3, 4), (0, 1, 2, 3, 4), clusters, 0.95)
    assert lesion.filter(name="lesion_sensitivity")["value"][0] == 0


def test_a_view_without_one_side_has_no_auc_and_says_why() -> None:
    probabilities, labels, clusters = sample()
    frame = binary_scores(
        "malignant", probabilities, np.zeros_like(labels), (1, 2, 3, 4), (0, 1, 2, 3, 4), clusters, 0.95
    )
    rows = {row["name"].removeprefix("malignant_"): row for row in frame.iter_rows(named=True)}
    assert (rows["auc"]["value"], rows["auc"]["reason"]) == (None, "no_other_class")
    assert (rows["sensitivity"]["value"], rows["sensitivity"]["reason"]) == (None, "no_samples")
    assert rows["specificity"]["value"] is not None and rows["specificity"]["reason"] is None


@pytest.mark.parametrize("positive", [(), (1, 2), (0,)])
def test_positive_classes_must_be_a_proper_part(positive: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be some of"):
        binary_scores("malignant", *sample()[:2], positive, (1, 2), sample()[2], 0.95)


def test_views_follow_the_pathologies_of_the_classes(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()

    def views(*words: str | None) -> dict[str, tuple[list[int], list[int]]]:
        given = [words[label] for label in patches.labels]
        frame = pl.DataFrame({"sample_id": patches.ids, "pathology": pl.Series(given, dtype=pl.String)})
        return binary_views(patches, frame)

    lesion = {"lesion": ([1, 2, 3, 4], [0, 1, 2, 3, 4])}
    benign = ("BENIGN", "benign_without_callback")
    assert views(None, *benign, "MALIGNANT", "Malignant") == lesion | {"malignant": ([3, 4], [1, 2, 3, 4])}
    assert views(None, *benign, "MALIGNANT", "in situ") == views(None, *benign, "MALIGNANT", None) == lesion
    assert views(None, *benign, *benign) == lesion == binary_views(patches, pl.DataFrame({"sample_id": patches.ids}))
    everywhere = replace(patches, has_mask=np.ones_like(patches.has_mask))
    assert binary_views(everywhere, pl.DataFrame({"sample_id": patches.ids})) == {}


def test_a_test_part_without_lesions_says_so() -> None:
    probabilities, labels, clusters = sample()
    frame = binary_scores("malignant", probabilities, np.zeros_like(labels), (3, 4), (1, 2, 3, 4), clusters, 0.95)
    assert set(frame["reason"]) == {"no_samples"} and frame["value"].null_count() == 4


class Split(NamedTuple):
    """What of samples the pathology needs."""

    ids: np.ndarray
    splits: np.ndarray
    has_mask: np.ndarray


def margins(rng: np.random.Generator, count: int, shuffled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three margins, and pathologies that follow the third class in nine cases of ten, or nothing."""
    margin = rng.integers(0, 3, count)
    logits = rng.normal(size=(count, 3)) + 3 * np.eye(3)[margin]
    malignant = np.where(rng.random(count) < 0.9, margin == 2, margin != 2).astype(np.int64)
    if shuffled:
        malignant = rng.permutation(malignant)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return chances.astype(np.float32), malignant


@pytest.mark.parametrize("shuffled", [False, True])
def test_malignancy_is_told_from_classes_only_where_it_follows_them(shuffled: bool) -> None:
    rng = np.random.default_rng(3)
    trained, before = margins(rng, 300, shuffled)
    probabilities, after = margins(rng, 200, shuffled)
    after[:5] = -1
    known = np.concatenate([before, np.full(7, -1), after])
    samples = Split(np.arange(507), np.array(["train"] * 300 + ["validation"] * 7 + ["test"] * 200), np.ones(507, bool))
    words = pl.Series([{1: "MALIGNANT", 0: "BENIGN"}.get(int(each)) for each in known], dtype=pl.String)
    attributes = pl.DataFrame({"sample_id": samples.ids, "pathology": words})
    clusters = draw(np.array([f"P{n // 2}" for n in range(200)]), 300, rng)
    found = pathology_scores(trained, probabilities, samples, attributes, clusters, 0.95)
    rows = {row["name"]: row for row in found.to_dicts()}
    auc = rows["pathology_auc"]
    assert auc["n"] == 195 and set(rows) == {
        f"pathology_{n}" for n in ("auc", "accuracy", "sensitivity", "specificity")
    }
    assert (auc["low"] < 0.5 < auc["high"]) if shuffled else (auc["low"] > 0.75 and auc["value"] > 0.8)


def test_pathologies_are_asked_for_where_classes_do_not_tell_them(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = replace(tiny_patches(), splits=np.array(["train"] * len(tiny_patches().ids)))
    words = np.array(["MALIGNANT", "Benign_without_callback"])[np.arange(len(patches.ids)) % 2]
    frame = pl.DataFrame({"sample_id": patches.ids, "pathology": words})
    known = pathology_of(patches, frame)
    assert (known[~patches.has_mask] == -1).all()
    assert (known[patches.has_mask] == (words[patches.has_mask] == "MALIGNANT")).all()
    assert pathology_asked(patches, frame) and not pathology_asked(patches, frame, (patches.classes[4],))
    assert not pathology_asked(patches, pl.DataFrame({"sample_id": patches.ids}))
