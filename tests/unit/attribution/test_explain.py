"""Predictions and maps in batches, against the methods themselves."""

from itertools import product

import numpy as np
import pytest
import torch

from lesionlens.attribution import explain as module
from lesionlens.attribution.explain import TARGETS, Source, explain, reference_maps
from lesionlens.attribution.registry import METHODS
from lesionlens.config.evaluation import EvaluationConfig, Explains
from lesionlens.training.feature_cache import Stored
from lesionlens.training.inputs import Inputs
from tests.unit.arrays import bright_squares
from tests.unit.attribution.networks import narrow


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.setattr(module, "BATCH", 3)
    return Inputs(bright_squares(20), "train", torch.device("cpu"))


BLOCK, CONV = (EvaluationConfig(layer=layer, explains="logit") for layer in ("block", "conv"))
ROWS = [17, 1, 4, 9, 12, 0, 6]


def test_both_targets_are_explained_by_every_method_in_order_of_the_rows(inputs: Inputs) -> None:
    model, done = narrow(), []
    found = explain(model, Source(inputs, ROWS), BLOCK, ("grad_cam", "layer_cam"), TARGETS, done.append)
    pixels, labels = inputs(ROWS), inputs.patches.labels[ROWS]
    expected = torch.softmax(model(pixels), dim=1).detach().numpy()
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(found.predicted, expected.argmax(axis=1))
    assert 0 < (found.predicted == labels).sum() < len(ROWS) and done == [3, 3, 1]
    assert list(found.maps) == [(m, t) for m in ("grad_cam", "layer_cam") for t in TARGETS]
    for (method, target), maps in found.maps.items():
        classes = found.predicted if target == "predicted" else labels
        reference = METHODS[method].maps(model, pixels, classes, model.map_block("block"))
        np.testing.assert_allclose(maps, reference, atol=1e-5 * np.abs(reference).max())


@pytest.mark.parametrize("explains", ["logit", "contrast"])
def test_saliency_of_the_predicted_class_shares_the_pass_that_predicts(inputs: Inputs, explains: Explains) -> None:
    """Three batches, and one pass more for each in which some sample's true class was not predicted."""
    model, passes = narrow(), list[int]()
    pixels, labels = inputs(ROWS), inputs.patches.labels[ROWS]
    settings = EvaluationConfig(explains=explains)
    block, alone = model.map_block("block"), METHODS["saliency"].maps
    model.stem.register_forward_hook(lambda _module, _inputs, output: passes.append(len(output)))
    found = explain(model, Source(inputs, ROWS), settings, ("grad_cam", "saliency"), TARGETS, lambda _count: None)
    wrong = [int((found.predicted != labels)[start : start + 3].sum()) for start in (0, 3, 6)]
    assert 0 < sum(wrong) < len(ROWS)
    assert passes == [count for size, also in zip((3, 3, 1), wrong, strict=True) for count in (size, also) if count]
    for target, classes in (("predicted", found.predicted), ("true", labels)):
        expected = alone(model, pixels, classes, block, explains)
        np.testing.assert_allclose(found.maps["saliency", target], expected, atol=1e-5 * expected.max())


def test_saliency_explains_any_classes(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    model, classes = narrow(), np.arange(7) % 5
    expected = METHODS["saliency"].maps(model, inputs(ROWS), classes, model.map_block("block"))
    monkeypatch.setattr(module, "reference", lambda *_: "saliency")  # as of a network without spatial maps
    found = reference_maps(model, Source(inputs, ROWS), classes, BLOCK)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


def test_stored_features_give_the_same_maps(inputs: Inputs) -> None:
    model = narrow()
    with torch.no_grad():
        stem = model.stem(inputs(list(range(20))))
        levels = Stored("stem", stem), Stored("unit2", model.unit2(stem))
    for methods, stored in product((("grad_cam",), ("grad_cam", "hires_cam")), levels):
        whole, found = (
            explain(model, Source(inputs, ROWS, features), CONV, methods, ("predicted",), lambda _count: None)
            for features in (None, stored)
        )
        np.testing.assert_allclose(whole.probabilities, found.probabilities, atol=1e-6)
        for key, maps in whole.maps.items():
            np.testing.assert_allclose(maps, found.maps[key], atol=1e-5 * np.abs(maps).max())


def test_grad_cam_explains_any_classes(inputs: Inputs) -> None:
    model, classes = narrow(), np.arange(7) % 5
    reference = METHODS["grad_cam"].maps(model, inputs(ROWS), classes, model.map_block("block"))
    found = reference_maps(model, Source(inputs, ROWS), classes, BLOCK)
    np.testing.assert_allclose(found, reference, atol=1e-5 * np.abs(reference).max())


def test_no_rows_give_empty_arrays(inputs: Inputs) -> None:
    found = explain(narrow(), Source(inputs, []), BLOCK, ("grad_cam",), ("true",), lambda _count: None)
    assert found.probabilities.shape == (0, 5) and len(found.maps["grad_cam", "true"]) == 0
