"""The gradient of a strided weight, against torch's own sums in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lesionlens.models.convolutions import strided, winograd

Shape = tuple[int, int, int, int, int]


def by_torch(images: Tensor, gradient: Tensor) -> Tensor:
    """The same by a convolution's own gradient."""
    weight = images.new_zeros(gradient.shape[-1], images.shape[-1], 3, 3).requires_grad_()
    found = torch.conv2d(images.permute(0, 3, 1, 2), weight, None, stride=2, padding=1)
    return torch.autograd.grad(found, weight, gradient.permute(0, 3, 1, 2))[0]


def apart(shape: Shape, kind: torch.dtype, own: bool = True) -> float:
    """How far one way in this type lies from torch's in float64, at most, as a share of the largest magnitude."""
    samples, channels, kernels, height, width = shape
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(samples, 2 * height, 2 * width, channels, generator=generator, dtype=torch.float64)
    gradient = torch.randn(samples, height, width, kernels, generator=generator, dtype=torch.float64)
    exact, way = by_torch(images, gradient), strided.gradient_of_weight if own else by_torch
    return float((way(images.to(kind), gradient.to(kind)) - exact).abs().max() / exact.abs().max())


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 14), st.integers(1, 14)))
def test_values_are_those_of_the_sums(shape: Shape) -> None:
    """Of any even size, multiples of a tile or not; in float64, where rounding hides nothing."""
    assert apart(shape, torch.float64) < 1e-13


def test_many_positions_round_little_more_than_the_direct_sums() -> None:
    shape = (8, 128, 64, 28, 20)
    assert apart(shape, torch.float32) < 3 * apart(shape, torch.float32, own=False)


@pytest.mark.parametrize("size", [1, 5000, 1 << 40])
def test_bands_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """One row of tiles at a time, some, and all images at once."""
    monkeypatch.setattr(winograd, "BYTES", size)
    assert apart((3, 2, 4, 25, 9), torch.float64) < 1e-13
