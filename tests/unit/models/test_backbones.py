"""Stages of every backbone against the table of the protocol, and places that can be hooked."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from lesionlens import config
from lesionlens.models.backbones import BACKBONES, Level, build, cam_layer
from lesionlens.models.weights import ORIGIN

LEVELS: tuple[Level, ...] = ("pixels", "stem", "unit2", "pooled")
# Convolutions in stem, unit 2 and unit 1.
CONVOLUTIONS = {
    "vgg16": (7, 3, 3),
    "vgg19": (8, 4, 4),
    "vgg11_bn": (4, 2, 2),
    "resnet18": (10, 5, 5),
    "resnet34": (16, 13, 7),
    "resnet50": (24, 19, 10),
    "efficientnet_b0": (40, 35, 6),
}


def convolutions(module: nn.Module) -> int:
    return sum(isinstance(each, nn.Conv2d) for each in module.modules())


@pytest.mark.parametrize("name", BACKBONES)
def test_stages_are_torchvisions_network(name: str) -> None:
    """Cut and put together again, the stages compute what torchvision's own network does."""
    network = models.get_model(name, weights=None).eval()
    model = build(name, 5, seed=1, pretrained=network.state_dict())
    assert tuple(convolutions(each) for each in (model.stem, model.unit2, model.unit1)) == CONVOLUTIONS[name]
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        if hasattr(network, "features"):
            expected = network.features(pixels).mean((2, 3))
        else:
            network.fc = nn.Identity()
            expected = network(pixels)
        torch.testing.assert_close(model.to_level("pooled", pixels), expected)
        logits = model(pixels)
        for level in LEVELS:
            assert torch.equal(model.from_level(level, model.to_level(level, pixels)), logits)


@pytest.mark.parametrize("name", BACKBONES)
def test_hooks_see_what_the_layer_computed(name: str) -> None:
    """Nothing overwrites the output of the CAM places in place."""
    model = build(name, 5, seed=0)
    for layer in ("block", "conv"):
        seen: list[tuple[Tensor, Tensor]] = []
        place = cam_layer(model, layer)
        handle = place.register_forward_hook(
            lambda module, args, output, seen=seen: seen.append((output, output.clone()))
        )
        with torch.no_grad():
            model(torch.randn(2, 3, 64, 64))
        handle.remove()
        assert torch.equal(*seen[0])
    assert isinstance(cam_layer(model, "conv"), nn.Conv2d)
    assert list(model.unit1.modules())[-6:].count(cam_layer(model, "conv")) == 1


@pytest.mark.parametrize(("name", "side"), [("vgg16", 14), ("vgg11_bn", 14), ("resnet50", 7), ("efficientnet_b0", 7)])
def test_grid_of_a_full_size_patch(name: str, side: int) -> None:
    model = build(name, 5, seed=0)
    with torch.no_grad():
        block = model.unit1(model.to_level("unit2", torch.randn(1, 3, 224, 224)))
    assert block.shape[2:] == (side, side)


def test_seed_decides_the_weights_and_nothing_else_changes() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (build("resnet18", 5, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["stem.conv1.weight"], other["stem.conv1.weight"])


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'vgg13'.*vgg16"):
        build("vgg13", 5, 0)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit resnet34"):
        build("resnet34", 5, 0, models.resnet18(weights=None).state_dict())


def test_every_backbone_can_be_configured() -> None:
    assert set(get_args(config.Backbone)) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_first_weights_are_torchvisions_first_imagenet_weights(name: str) -> None:
    assert models.get_model_weights(name)["IMAGENET1K_V1"].url == ORIGIN + BACKBONES[name].weights
