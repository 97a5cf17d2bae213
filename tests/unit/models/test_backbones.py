"""Backbones by name: weights of a seed, blocks against the protocol's table and torchvision's networks, and hooks."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from lesionlens.config.training import Backbone
from lesionlens.models.backbones import BACKBONES, build
from lesionlens.models.classifier import BLOCKS, Level

LEVELS: tuple[Level, ...] = ("pixels", "stem", "unit2", "pooled")
# Convolutions in stem, unit2 and unit1.
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
    return sum(isinstance(part, nn.Conv2d) for part in module.modules())


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18", "resnet50", "efficientnet_b0"])
def test_blocks_are_torchvisions_network(name: str) -> None:
    """Cut and put together again, the blocks compute what torchvision's own network does."""
    network = models.get_model(name, weights=None).eval()
    model = build(name, 5, seed=1, pretrained=network.state_dict())
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        if hasattr(network, "features"):
            expected = network.features(pixels).mean((2, 3))
        else:
            network.fc = nn.Identity()
            expected = network(pixels)
        torch.testing.assert_close(model.to_level("pooled", pixels), expected)
        logits = model.logits(pixels)
        assert torch.equal(model(pixels), logits)
        for level in LEVELS:
            assert torch.equal(model.from_level(level, model.to_level(level, pixels)), logits)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_block_has_its_convolutions_and_can_be_hooked(name: str) -> None:
    """Nothing overwrites the output of the modules that maps explain in place."""
    model = build(name, 5, seed=0)
    assert tuple(model.blocks) == BLOCKS
    assert tuple(convolutions(block) for block in list(model.blocks.values())[:3]) == CONVOLUTIONS[name]
    for layer in ("block", "conv"):
        seen: list[tuple[Tensor, Tensor]] = []
        handle = model.map_block(layer).register_forward_hook(  # type: ignore[arg-type]
            lambda module, args, output, seen=seen: seen.append((output, output.clone()))
        )
        with torch.no_grad():
            model(torch.randn(2, 3, 64, 64))
        handle.remove()
        assert torch.equal(*seen[0])
    assert isinstance(model.map_block("conv"), nn.Conv2d)
    assert list(model.unit1.modules())[-6:].count(model.map_block("conv")) == 1


@pytest.mark.parametrize(("name", "side"), [("vgg11_bn", 14), ("resnet18", 7), ("efficientnet_b0", 7)])
def test_grid_of_a_full_size_sample(name: str, side: int) -> None:
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
    assert set(get_args(Backbone)) == set(BACKBONES)
