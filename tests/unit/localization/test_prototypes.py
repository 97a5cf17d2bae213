"""Prototypes against annotations: plain loops, and models whose prototypes do not look at the lesion."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.training import PrototypeConfig, RunConfig, TrainingConfig
from lesionlens.localization.maps import EvaluatedSplit, evaluated_split, model_maps
from lesionlens.localization.prototypes import Cases, cases, explained_inside, match_frame, own_precision
from lesionlens.models.classifier import Classifier
from lesionlens.models.prototypes import layer_of
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import draw
from lesionlens.scoring.prototypes import activation_precisions, prototype_frames
from lesionlens.training.fit import first_model
from lesionlens.training.inputs import Inputs, computed
from lesionlens.training.prototypes.projection import push

Made = tuple[Classifier, EvaluatedSplit]


@pytest.fixture(scope="module")
def made(make_patches: Callable[..., SampleArrays], make_run: Callable[..., RunConfig],
         make_training: Callable[..., TrainingConfig]) -> Made:  # fmt: skip
    """A pushed network of random weights on samples whose lesions lie anywhere but in the lower right corner."""
    patches = make_patches(30, 10, size=96)
    splits = patches.splits.copy()
    splits[:15] = "test"
    masks, random = np.zeros_like(patches.masks), np.random.default_rng(0)
    for mask in masks:
        y, x = random.integers(0, 40, 2)
        mask[y : y + 24, x : x + 24] = True
    patches = replace(patches, masks=masks, has_mask=np.ones(len(masks), np.bool_), splits=splits)
    config = PrototypeConfig(per_class=2, channels=8, topk=1.0)
    run = make_run("vgg11_bn", system="prototype")
    model = first_model(run, make_training(prototypes=config), patches)
    inputs = Inputs(patches, "train", torch.device("cpu"))
    push(model, patches, computed(model, "unit1", inputs), inputs.rows("train"))
    return model, evaluated_split(inputs, EvaluationConfig(methods=("prototypes", "grad_cam")))


def precision_of(made: Made, **changed: Any) -> tuple[Cases, dict[str, Any]]:
    """Cases, and the pooled row of activation precision over single prototypes."""
    model, split = made
    found = cases(model, split)
    assert found is not None
    found = replace(found, **changed)
    clusters = draw(split.test.patients, 200, np.random.default_rng(0))
    frame = activation_precisions(split.test, [], found, clusters, 0.95)
    return found, next(row for row in frame.to_dicts() if row["label"] is None)


def test_prototypes_of_random_weights_mark_lesions_no_better_than_chance(made: Made) -> None:
    found, row = precision_of(made)
    assert row["share"] == pytest.approx(24 * 24 / 96**2)
    assert row["value"] <= row["share"] + 0.1 and not row["difference_low"] > 0
    assert np.isnan(own_precision(made[1].test, found)).sum() == 0


def test_prototypes_that_read_one_corner_are_below_the_masks_share(made: Made) -> None:
    """Every map is highest in the corner where no lesion lies: the report must say so, and says so by this sign."""
    model, split = made
    layer, find = layer_of(model), layer_of(model).distances

    def corner(features: Tensor) -> Tensor:
        distances = torch.full_like(find(features), 3.0)
        distances[:, :, -1, -1] = 0.0
        return distances

    layer.distances = corner  # type: ignore[method-assign]
    try:
        _, row = precision_of(made)
        found = cases(model, split)
    finally:
        layer.distances = find  # type: ignore[method-assign]
    assert row["value"] < row["share"] and row["difference_high"] < 0
    assert found is not None
    inside = explained_inside(split.test, np.argmax(found.similarities @ found.weights.T, axis=1), found)
    assert np.nanmax(inside) == 0


def test_matches_and_shares_are_those_of_a_plain_loop(made: Made) -> None:
    model, split = made
    found = cases(model, split)
    assert found is not None
    kept = np.array([n != 3 for n in range(len(found.owners))])
    found, test, size = replace(found, kept=kept), split.test, 96
    predicted = np.zeros(len(test.ids), dtype=np.int64) + 1
    shares = explained_inside(test, predicted, found)
    rows, columns = found.shape
    for n in range(len(test.ids)):
        total = inside = 0.0
        for j in np.flatnonzero(kept):
            points = max(float(found.similarities[n, j] * found.weights[1, j]), 0)
            row, column = found.places[n, j]
            total += points
            inside += points * test.masks[n, int((row + 0.5) * size / rows), int((column + 0.5) * size / columns)]
        assert shares[n] == pytest.approx(inside / total) if total else np.isnan(shares[n])
    frame = match_frame(test, found)
    assert frame.height == len(test.ids) * kept.sum() and set(frame["number"]) == set(np.flatnonzero(kept) + 1)
    first = frame.filter(sample_id=int(test.ids[0]), number=1).to_dicts()[0]
    assert first["similarity"] == pytest.approx(float(found.similarities[0, 0]))
    assert first["top5"] == pytest.approx(float(found.scores[0].top5[0]))


def test_purity_and_coverage_count_training_samples(made: Made) -> None:
    model, split = made
    found = cases(model, split)
    assert found is not None
    patches = split.inputs.patches
    clusters = draw(split.test.patients, 200, np.random.default_rng(0))
    frame = prototype_frames(split.test, patches.ids, patches.labels, found, clusters, 0.95)["prototypes"]
    training = set(patches.ids[patches.splits == "train"].tolist())
    for row in frame.to_dicts():
        assert set(row["neighbours"]) | {row["source_id"]} <= training and len(row["neighbours"]) == 10
        labels = [int(patches.labels[np.flatnonzero(patches.ids == near)[0]]) for near in row["neighbours"]]
        assert row["purity"] == pytest.approx(np.mean([label == row["label"] for label in labels]))
        assert row["distances"] == sorted(row["distances"]) and row["distances"][0] == pytest.approx(0, abs=1e-4)
    for _, of_class in frame.group_by("label"):
        assert of_class["coverage"].sum() == pytest.approx(1)


def test_the_evidence_of_prototypes_is_a_map_like_any(made: Made) -> None:
    model, split = made
    explained, _, maps = model_maps(model, split, ("prototypes", "grad_cam"), ("predicted", "true"), lambda _: None)
    assert {m.method for m in maps} == {"prototypes", "grad_cam"} and maps[0].grids is not None
    assert maps[0].grids.shape[1:] == (6, 6)
    with torch.no_grad():
        logits = model.logits(split.inputs(split.rows))
    np.testing.assert_array_equal(explained.predicted, logits.argmax(dim=1).numpy())
    plain = first_model(
        RunConfig(backbone="resnet18", strategy="gradual"), TrainingConfig(weights="none"), split.inputs.patches
    )
    assert cases(plain, split) is None
