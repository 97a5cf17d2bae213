"""Networks and inputs of the attribution tests."""

import copy
from functools import cache

import numpy as np
import torch
from torch import nn

from lesionlens.models.backbones import build
from lesionlens.models.classifier import Classifier, Trunk

SIDE = 64
ODD = 80  # maps of 5 and 3: VGG's last max pooling leaves a row and a column out
CLASSES = np.array([0, 3, 1])


def calibrated(name: str) -> Classifier:
    """A random network whose batch normalisation was calibrated, with slopes of either sign."""
    return copy.deepcopy(_calibrated(name))


@cache
def _calibrated(name: str) -> Classifier:
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


def narrow() -> Classifier:
    """VGG's last block and pooling behind a few channels: for methods that run once per channel."""
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unit1 = nn.Sequential(nn.Conv2d(6, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU())
        stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=16, padding=1), nn.ReLU())
        pool = nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model = Classifier("narrow", Trunk(stem, nn.Identity(), unit1, pool, "0", 20), 5)
        nn.init.normal_(unit1[1].weight)
        return model.eval()


def tiny() -> nn.Sequential:
    """One convolution, explained at its ReLU, `tiny()[1]`."""
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
