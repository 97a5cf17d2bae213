"""Networks with an eighth of the channels: what trains, is stored and resumes are the same blocks, in less time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vgg import make_layers

from lesionlens.models import arithmetic
from lesionlens.models.backbones import BACKBONES

THINNER = 8
VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


class ThinResNet(ResNet):
    """ResNet18 but for the channels of its blocks."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.fc = nn.Linear(512 // THINNER, 1000)

    def _make_layer(self, block: Any, planes: int, *how: Any, **more: Any) -> nn.Sequential:
        return super()._make_layer(block, planes // THINNER, *how, **more)


def thin_vgg() -> nn.Module:
    """VGG11 with batch norm, without what follows its features."""
    thinner = [each // THINNER if isinstance(each, int) else each for each in VGG11]
    found = nn.Module()
    found.features = make_layers(thinner, batch_norm=True)
    return found


@contextmanager
def thin_networks() -> Iterator[None]:
    """resnet18 and vgg11_bn are thin meanwhile, and Winograd's way is taken by the same layers as in the whole ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, make in (("resnet18", ThinResNet), ("vgg11_bn", thin_vgg)):
            patch.setitem(BACKBONES, name, replace(BACKBONES[name], make=make))
        patch.setattr(arithmetic, "CHANNELS", arithmetic.CHANNELS // THINNER)
        yield
