"""Predictions and maps in batches, against the methods themselves."""

from itertools import product

import numpy as np
import pytest
import torch

from lesionlens.attribution import explain as module
from lesionlens.attribution.explain import TARGETS, Source, explain, reference_maps
from lesionlens.attribution.registry import METHODS
from lesionlens.config.evaluation import EvaluationConfig
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
