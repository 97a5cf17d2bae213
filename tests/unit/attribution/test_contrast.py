"""Contrast maps: what all classes' weights have in common changes no prediction, and no map."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from lesionlens.attribution import closed_form
from lesionlens.attribution.cam import TARGETS
from lesionlens.attribution.registry import METHODS
from lesionlens.config.evaluation import Explains, Method
from lesionlens.models.classifier import Classifier, Layer
from tests.unit.attribution.networks import CLASSES, narrow, pixels

Maps = Callable[[Classifier, Explains], np.ndarray]
LINEAR: tuple[Method, ...] = ("grad_cam", "hires_cam", "layer_cam")
"""Methods whose maps are linear in the gradient, or weigh by its sign place by place."""


def shifted(model: Classifier, seed: int, bias: float = 0.0) -> Classifier:
    """The same constant vector, as large as the weights themselves, added to every class's weights."""
    made = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        scale = made.head.weight.abs().max()
        made.head.weight += 3 * scale * torch.randn(made.head.weight.shape[1], generator=generator)
        made.head.bias += bias
    return made


def closed(layer: Layer) -> Maps:
    def maps(model: Classifier, explains: Explains) -> np.ndarray:
        outputs = closed_form.forward(model, layer, pixels())
        return closed_form.grad_cam(model, layer, outputs, torch.from_numpy(CLASSES), explains).numpy()

    return maps


def package(method: Method, layer: Layer = "block") -> Maps:
    def maps(model: Classifier, explains: Explains) -> np.ndarray:
        return METHODS[method].maps(model, pixels(), CLASSES, model.map_block(layer), explains)

    return maps


WAYS = {
    **{f"closed {layer}": closed(layer) for layer in ("block", "conv")},
    **{f"{method} {layer}": package(method, layer) for method in LINEAR for layer in ("block", "conv")},
}


def apart(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max() / np.abs(first).max())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(3))
def test_a_constant_vector_in_all_weights_changes_no_contrast_map_but_the_logits(way: str, seed: int) -> None:
    model = narrow()
    moved = shifted(model, seed)
    before, after = (torch.softmax(one(pixels()).detach(), dim=1) for one in (model, moved))
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    maps = WAYS[way]
    assert np.abs(maps(model, "contrast")).max() > 0
    assert apart(maps(model, "contrast"), maps(moved, "contrast")) < 1e-4
    assert apart(maps(model, "logit"), maps(moved, "logit")) > 0.1


@pytest.mark.parametrize("method", ["ablation_cam", "score_cam", "grad_cam_pp"])
def test_methods_that_are_not_linear_explain_the_contrast_too(method: Method) -> None:
    model = narrow()
    moved, maps = shifted(model, 0), package(method)
    assert apart(maps(model, "contrast"), maps(moved, "contrast")) < 1e-3
    assert apart(maps(model, "logit"), maps(moved, "logit")) > 0.01


@pytest.mark.parametrize("layer", ["block", "conv"])
def test_the_closed_form_is_the_packages_contrast(layer: Layer) -> None:
    model = narrow()
    assert apart(package("grad_cam", layer)(model, "contrast"), closed(layer)(model, "contrast")) < 1e-5


def test_contrast_maps_of_all_classes_cancel_and_of_two_are_opposite() -> None:
    model = narrow()
    outputs = closed_form.forward(model, "block", pixels())
    maps = [
        closed_form.grad_cam(model, "block", outputs, torch.full((3,), label), "contrast").numpy() for label in range(5)
    ]
    assert np.abs(np.sum(maps, axis=0)).max() < 1e-5 * np.abs(maps).max()
    two = copy.deepcopy(model)
    two.head = torch.nn.Linear(20, 2)
    first, second = (
        closed_form.grad_cam(two, "block", outputs, torch.full((3,), label), "contrast").numpy() for label in (0, 1)
    )
    assert first == pytest.approx(-second, abs=1e-6)
    first, second = (
        METHODS["hires_cam"].maps(two, pixels(), np.full(3, label), two.map_block("block"), "contrast")
        for label in (0, 1)
    )
    assert first == pytest.approx(-second, abs=1e-6) and np.abs(first).max() > 1e-3


def test_the_contrast_is_the_logit_minus_the_mean() -> None:
    logits = torch.tensor([3.0, 0.0, -1.5])
    assert TARGETS["contrast"](0)(logits).item() == pytest.approx(2.5)
    assert TARGETS["logit"](0)(logits).item() == 3.0
    assert TARGETS["contrast"](0)(logits + 100).item() == pytest.approx(2.5, abs=1e-4)
