"""Attributions of pixels against what is known in closed form, and against a network that reads one region."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from lesionlens.attribution.pixels import CELLS
from lesionlens.attribution.registry import METHODS
from lesionlens.config.evaluation import Method
from tests.unit.attribution.test_registry import PIXELS

SIDE = 2 * CELLS
CLASSES = np.array([1, 0])


class Linear(nn.Module):
    """Scores linear in the pixels, all channels alike in what they say of each: weight [classes, s, s]."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        weight = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
        self.weight, self.channels = nn.Parameter(weight), channels

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nij,cij->nc", images.mean(dim=1), self.weight)


class Region(nn.Module):
    """Class 1 is the squared brightness of one corner, class 0 of the opposite one."""

    def forward(self, images: Tensor) -> Tensor:
        half = SIDE // 2
        corners = images[:, :, half:, half:], images[:, :, :half, :half]
        return torch.stack([(corner**2).sum(dim=(1, 2, 3)) for corner in corners], dim=1)


def grey(seed: int = 1, channels: int = 3) -> Tensor:
    """Two images, their channels copies of one grey value."""
    found = torch.randn(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return found.expand(2, channels, SIDE, SIDE)


def maps(method: Method, model: nn.Module, images: Tensor) -> np.ndarray:
    return METHODS[method].maps(model, images, CLASSES, model, "logit")


@pytest.mark.parametrize("method", ["saliency", "smooth_grad"])
def test_the_gradient_of_a_linear_network_is_its_weights(method: Method) -> None:
    model = Linear()
    expected = avg_pool2d(model.weight.detach()[CLASSES].abs()[:, None], 2)[:, 0]
    np.testing.assert_allclose(maps(method, model, grey()), expected, rtol=1e-4)


def test_integrated_gradients_of_a_linear_network_are_weights_times_values() -> None:
    model, images = Linear(), grey()
    expected = avg_pool2d((model.weight.detach()[CLASSES] * images[:, 0])[:, None], 2)[:, 0]
    np.testing.assert_allclose(maps("integrated_gradients", model, images), expected, rtol=1e-3, atol=1e-5)


def test_integrated_gradients_sum_to_the_score_above_that_of_the_baseline() -> None:
    model, images = Region(), grey()
    with torch.no_grad():
        scores, base = model(images), model(torch.zeros_like(images))
    expected = (scores - base)[range(2), CLASSES]
    whole = maps("integrated_gradients", model, images).sum(axis=(1, 2)) * (SIDE // CELLS) ** 2
    np.testing.assert_allclose(whole, expected, rtol=1e-2)


@pytest.mark.parametrize("method", PIXELS)
def test_three_channels_of_one_grey_are_explained_as_the_one(method: Method) -> None:
    one, three = Linear(1), Linear(3)
    np.testing.assert_allclose(maps(method, one, grey(channels=1)), maps(method, three, grey()), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", PIXELS)
def test_energy_lies_where_the_network_reads_and_nowhere_else(method: Method) -> None:
    """Class 1 is read in the first corner; class 0 in the last, where the map of class 1 has nothing."""
    found, half = np.abs(maps(method, Region(), grey())), CELLS // 2
    inside = np.array([found[0, :half, :half].sum(), found[1, half:, half:].sum()]) / found.sum(axis=(1, 2))
    outside = np.array([found[0, half:, half:].sum(), found[1, :half, :half].sum()]) / found.sum(axis=(1, 2))
    assert (inside > 0.999).all() and (outside < 0.001).all()
