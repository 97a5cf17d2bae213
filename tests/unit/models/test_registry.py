"""Backbones by name: seeded weights, and names or weights that do not fit."""

from typing import get_args

import pytest
import torch
from torchvision import models

from lesionlens.config.training import Backbone
from lesionlens.models.registry import BACKBONES, build


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
