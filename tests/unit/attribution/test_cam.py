"""Maps: the closed form against the package, the package against captum, and its known traps."""

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import nn

from lesionlens.attribution import closed_form
from lesionlens.attribution.cam import METHODS, reference_grids
from lesionlens.models.classifier import Classifier, Layer, Trunk
from lesionlens.models.registry import BACKBONES, build

SIDE = 64
ODD = 80  # grids of 5 and 3: VGG's last max pooling leaves a row and a column out
CLASSES = np.array([0, 3, 1])


def calibrated(name: str) -> Classifier:
    """A random network whose batch normalisation has seen data, with slopes of either sign."""
    torch.set_num_threads(1)
    model = build(name, 5, seed=0)
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(4, 3, SIDE, SIDE, generator=generator))
        for norm in norms[-1:]:
            norm.weight.copy_(torch.randn(norm.weight.shape, generator=generator))
            norm.bias.copy_(torch.randn(norm.bias.shape, generator=generator))
    return model.eval()


def pixels(side: int = SIDE) -> torch.Tensor:
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", ["block", "conv"])
@pytest.mark.parametrize("name", list(BACKBONES))
@pytest.mark.parametrize(("side", "precision", "bound"), [(SIDE, torch.float32, 1e-5), (ODD, torch.float64, 2e-7)])
def test_the_closed_form_is_the_package_where_it_holds(
    name: str, layer: Layer, side: int, precision: torch.dtype, bound: float
) -> None:
    model, batch = calibrated(name).to(precision), pixels(side).to(precision)
    outputs = closed_form.forward(model, layer, batch)
    torch.testing.assert_close(outputs.logits, model(batch).detach(), rtol=1e-4, atol=1e-4)
    reference = reference_grids(model, model.map_block(layer), batch, CLASSES, "grad_cam")
    closed = closed_form.grids(model, layer, outputs, torch.from_numpy(CLASSES)).numpy()
    apart = np.abs(closed - reference).max() / np.abs(reference).max()
    if closed_form.holds(model, layer):
        assert apart < bound
    else:
        assert (name, layer) == ("efficientnet_b0", "conv") and apart > 1e-3


@pytest.mark.parametrize("layer", ["block", "conv"])
@pytest.mark.parametrize("name", list(BACKBONES))
def test_the_fast_copy_differs_by_rounding_and_leaves_the_model_alone(name: str, layer: Layer) -> None:
    model, batch = calibrated(name), pixels()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    slow = closed_form.forward(model, layer, batch)
    quick = closed_form.forward(closed_form.fast(model, layer), layer, batch)
    for a, b in ((slow.logits, quick.logits), (slow.layer, quick.layer)):
        assert (a - b).abs().max() < 1e-4 * a.abs().max()
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_the_closed_form_starts_from_the_stem_too() -> None:
    model, batch = calibrated("resnet18"), pixels()
    with torch.no_grad():
        stem = model.to_level("stem", batch)
    whole, rest = closed_form.forward(model, "conv", batch), closed_form.forward(model, "conv", stem, "stem")
    torch.testing.assert_close(whole.layer, rest.layer)
    torch.testing.assert_close(whole.logits, rest.logits)


@pytest.mark.parametrize("layer", ["block", "conv"])
@pytest.mark.parametrize("name", ["vgg11_bn", "vgg19", "resnet18", "resnet50", "efficientnet_b0"])
def test_the_package_agrees_with_captum(name: str, layer: Layer) -> None:
    model, batch = calibrated(name), pixels()
    place = model.map_block(layer)
    reference = reference_grids(model, place, batch, CLASSES, "grad_cam")
    captum = LayerGradCam(model, place).attribute(batch, target=torch.from_numpy(CLASSES), relu_attributions=False)
    np.testing.assert_allclose(reference, captum[:, 0].detach().numpy(), atol=1e-5 * np.abs(reference).max())


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_gives_raw_grids_and_leaves_the_model_as_it_was(method: str) -> None:
    model, batch = tiny(), pixels()
    before = model(batch).detach()
    grids = reference_grids(model, model[1], batch, CLASSES % 3, method)  # type: ignore[arg-type]
    assert grids.shape == (3, SIDE // 8, SIDE // 8) and grids.dtype == np.float32
    assert np.isfinite(grids).all() and not np.array_equal(grids.max(axis=(1, 2)), np.ones(3))
    assert all(not module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(model(batch).detach(), before)


@pytest.mark.parametrize("layer", ["block", "conv"])
@pytest.mark.parametrize("method", list(METHODS))
def test_a_sample_is_explained_alike_alone_and_in_a_batch(method: str, layer: Layer) -> None:
    model, batch = narrow(), pixels()
    place = model.map_block(layer)
    together = reference_grids(model, place, batch, CLASSES, method)  # type: ignore[arg-type]
    for row in range(3):
        alone = reference_grids(model, place, batch[row : row + 1], CLASSES[row : row + 1], method)  # type: ignore[arg-type]
        np.testing.assert_allclose(together[row], alone[0], atol=1e-4 * np.abs(together[row]).max())


@pytest.mark.parametrize("layer", ["block", "conv"])
def test_ablation_cam_is_its_published_formula(layer: Layer) -> None:
    """Share of the class's score that is lost when a channel is set to zero, as the channel's weight."""
    model, batch = narrow(), pixels()
    place = model.map_block(layer)
    found = reference_grids(model, place, batch, CLASSES, "ablation_cam")
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
    seen: list[torch.Tensor] = []

    def ablate(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        if channel is not None:
            changed[:, channel] = 0
        seen.append(changed)
        return changed

    handle = place.register_forward_hook(ablate)
    logits = model(image)
    handle.remove()
    return seen[0][0], logits[0]


def test_eigen_cam_rises_with_the_activation_and_is_the_packages_up_to_sign() -> None:
    model, batch = calibrated("resnet18"), pixels()
    place = model.map_block("block")
    with torch.no_grad():
        activations = closed_form.forward(model, "block", batch).layer.numpy()
    grids = reference_grids(model, place, batch, CLASSES, "eigen_cam")
    for grid, packages, seen in zip(grids, get_2d_projection(activations), activations, strict=True):
        assert np.corrcoef(grid.ravel(), seen.sum(axis=0).ravel())[0, 1] > 0
        np.testing.assert_allclose(np.abs(grid), np.abs(packages), atol=1e-4 * np.abs(grid).max())


def test_score_cam_holds_the_masks_of_one_image_and_keeps_no_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    weigh, asked = ScoreCAM.get_cam_weights, []

    def spy(self: ScoreCAM, inputs: torch.Tensor, *rest: object) -> np.ndarray:
        weights = weigh(self, inputs, *rest)
        asked.append((len(inputs), len(self.activations_and_grads.activations)))
        return weights

    monkeypatch.setattr(ScoreCAM, "get_cam_weights", spy)
    model = tiny()
    reference_grids(model, model[1], pixels(), CLASSES % 3, "score_cam")
    assert asked == [(1, 0)] * 3


def test_raw_grids_keep_what_lies_below_zero() -> None:
    model = tiny()
    grids = reference_grids(model, model[1], pixels(), CLASSES % 3, "grad_cam")
    assert grids.min() < 0


def test_a_network_that_is_frozen_whole_is_explained_all_the_same() -> None:
    model = tiny()
    free = reference_grids(model, model[1], pixels(), CLASSES % 3, "grad_cam")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    np.testing.assert_array_equal(reference_grids(model, model[1], pixels(), CLASSES % 3, "grad_cam"), free)


def test_an_index_error_is_not_swallowed() -> None:
    model = tiny()
    with pytest.raises(IndexError):
        reference_grids(model, model[1], pixels(), np.array([0, 1, 7]), "grad_cam")


def test_an_unknown_method_is_named() -> None:
    model = tiny()
    with pytest.raises(ValueError, match="no activation-map method 'sobel'"):
        reference_grids(model, model[1], pixels(), CLASSES, "sobel")  # type: ignore[arg-type]


def narrow() -> Classifier:
    """VGG's last block and pooling behind a few channels: what methods need that run once per channel."""
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unit1 = nn.Sequential(nn.Conv2d(6, 40, 3, padding=1), nn.BatchNorm2d(40), nn.ReLU())
        stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=16, padding=1), nn.ReLU())
        pool = nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model = Classifier("narrow", Trunk(stem, nn.Identity(), unit1, pool, "0", 40), 5)
        nn.init.normal_(unit1[1].weight)
        return model.eval()


def tiny() -> nn.Sequential:
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=8, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        ).eval()
