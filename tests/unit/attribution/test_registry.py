"""Every method of the registry: captum and published formulas as independent implementations, and its known traps."""

from typing import get_args

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import nn

from lesionlens.attribution import closed_form
from lesionlens.attribution.pixels import CELLS
from lesionlens.attribution.registry import METHODS
from lesionlens.config.evaluation import ALL, BOXES, Method
from lesionlens.config.training import PrototypeConfig
from lesionlens.models.backbones import build
from lesionlens.models.classifier import Classifier, Layer
from lesionlens.models.prototypes import with_prototypes
from lesionlens.models.weights import calibrate
from tests.unit.attribution.networks import CLASSES, SIDE, calibrated, narrow, pixels, tiny

PIXELS: tuple[Method, ...] = (
    "saliency", "smooth_grad", "integrated_gradients", "gradient_shap", "kernel_shap", "lime", "occlusion",
)  # fmt: skip


def test_the_registry_holds_what_the_configuration_offers() -> None:
    assert tuple(METHODS) == tuple(name for name in get_args(Method) if name != BOXES)


@pytest.mark.parametrize("layer", ["block", "conv"])
@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18", "efficientnet_b0"])
def test_grad_cam_agrees_with_captum(name: str, layer: Layer) -> None:
    model, batch = calibrated(name), pixels()
    place = model.map_block(layer)
    maps = METHODS["grad_cam"].maps(model, batch, CLASSES, place)
    captum = LayerGradCam(model, place).attribute(batch, target=torch.from_numpy(CLASSES), relu_attributions=False)
    np.testing.assert_allclose(maps, captum[:, 0].detach().numpy(), atol=1e-5 * np.abs(maps).max())


@pytest.mark.parametrize("method", ALL)
def test_every_method_gives_unscaled_maps_and_leaves_the_model_as_it_was(method: Method) -> None:
    model, batch = tiny(), pixels()
    before = model(batch).detach()
    maps = METHODS[method].maps(model, batch, CLASSES % 3, model[1])
    side = CELLS if method in PIXELS else SIDE // 8
    assert maps.shape == (3, side, side) and maps.dtype == np.float32
    assert np.isfinite(maps).all() and not np.array_equal(maps.max(axis=(1, 2)), np.ones(3))
    assert (maps.min() < 0) == METHODS[method].signed
    assert all(not module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(model(batch).detach(), before)


@pytest.mark.parametrize("layer", ["block", "conv"])
@pytest.mark.parametrize("method", ALL)
def test_a_sample_is_explained_alike_alone_and_in_a_batch(method: Method, layer: Layer) -> None:
    model, batch = narrow(), pixels()
    place = model.map_block(layer)
    together = METHODS[method].maps(model, batch, CLASSES, place)
    for row in (0, 2):
        alone = METHODS[method].maps(model, batch[row : row + 1], CLASSES[row : row + 1], place)
        np.testing.assert_allclose(together[row], alone[0], atol=1e-4 * np.abs(together[row]).max())


def test_evidence_of_prototypes_is_similarity_times_weight_place_by_place() -> None:
    """From the pixels and from the block's output; averaged over all places it is the logit."""
    model, batch = build("resnet18", 3, seed=0), pixels()
    calibrate(model, lambda rows: batch, [0, 1, 2], 0)
    model = with_prototypes(model, 3, PrototypeConfig(per_class=2, channels=4, topk=0.999), 0)
    model.pool.kept[5] = False  # type: ignore[index, operator]
    labels = CLASSES % 3
    found = METHODS["prototypes"].maps(model, batch, labels, model.unit1)
    features = model.to_level("unit1", batch)
    rest = nn.Sequential(nn.Identity(), model.pool, model.head)
    np.testing.assert_allclose(METHODS["prototypes"].maps(rest, features, labels, rest[0]), found, rtol=1e-5)
    logits = model(batch).detach().numpy()[np.arange(3), labels]
    np.testing.assert_allclose(found.mean(axis=(1, 2)), logits, rtol=1e-4)
    contrast = METHODS["prototypes"].maps(model, batch, labels, model.unit1, "contrast").mean(axis=(1, 2))
    np.testing.assert_allclose(contrast, logits - model(batch).detach().numpy().mean(axis=1), rtol=1e-3)
    with pytest.raises(ValueError, match="models with prototypes alone"):
        METHODS["prototypes"].maps(tiny(), batch, labels, rest[0])
    assert not closed_form.holds(model, "block")


@pytest.mark.parametrize("layer", ["block", "conv"])
def test_ablation_cam_is_its_published_formula(layer: Layer) -> None:
    """A channel's weight is the proportion of the class's score that is lost when the channel is set to zero."""
    model, batch = narrow(), pixels()
    place = model.map_block(layer)
    found = METHODS["ablation_cam"].maps(model, batch, CLASSES, place)
    with torch.no_grad():
        for row, label in enumerate(CLASSES):
            activations, whole = with_channel(model, place, batch[row : row + 1], None)
            weights = [
                (whole[label] - with_channel(model, place, batch[row : row + 1], channel)[1][label]) / whole[label]
                for channel in range(len(activations))
            ]
            expected = torch.einsum("c,chw->hw", torch.stack(weights), activations).numpy()
            np.testing.assert_allclose(found[row], expected, atol=1e-4 * np.abs(expected).max())


def with_channel(
    model: Classifier, place: nn.Module, image: torch.Tensor, channel: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer's activations [c, h, w] and the logits, one channel set to zero."""
    caught: list[torch.Tensor] = []

    def ablate(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        if channel is not None:
            changed[:, channel] = 0
        caught.append(changed)
        return changed

    handle = place.register_forward_hook(ablate)
    logits = model(image)
    handle.remove()
    return caught[0][0], logits[0]


def test_eigen_cam_rises_with_the_activation_and_is_the_packages_up_to_sign() -> None:
    model, batch = calibrated("resnet18"), pixels()
    with torch.no_grad():
        activations = closed_form.forward(model, "block", batch).layer.numpy()
    maps = METHODS["eigen_cam"].maps(model, batch, CLASSES, model.map_block("block"))
    for ours, packages, activation in zip(maps, get_2d_projection(activations), activations, strict=True):
        assert np.corrcoef(ours.ravel(), activation.sum(axis=0).ravel())[0, 1] > 0
        np.testing.assert_allclose(np.abs(ours), np.abs(packages), atol=1e-4 * np.abs(ours).max())


def test_score_cam_holds_the_masks_of_one_image_and_keeps_no_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    weigh, asked = ScoreCAM.get_cam_weights, []

    def spy(self: ScoreCAM, inputs: torch.Tensor, *rest: object) -> np.ndarray:
        weights = weigh(self, inputs, *rest)
        asked.append((len(inputs), len(self.activations_and_grads.activations)))
        return weights

    monkeypatch.setattr(ScoreCAM, "get_cam_weights", spy)
    model = tiny()
    METHODS["score_cam"].maps(model, pixels(), CLASSES % 3, model[1])
    assert asked == [(1, 0)] * 3


def test_a_network_that_is_frozen_whole_is_explained_all_the_same() -> None:
    model = tiny()
    free = METHODS["grad_cam"].maps(model, pixels(), CLASSES % 3, model[1])
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    np.testing.assert_array_equal(METHODS["grad_cam"].maps(model, pixels(), CLASSES % 3, model[1]), free)


def test_an_index_error_is_not_swallowed() -> None:
    model = tiny()
    with pytest.raises(IndexError):
        METHODS["grad_cam"].maps(model, pixels(), np.array([0, 1, 7]), model[1])
