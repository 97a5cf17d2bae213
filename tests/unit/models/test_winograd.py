"""Winograd's way to a convolution, against torch's own sums in float64."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lesionlens.models import winograd
from lesionlens.models.arithmetic import Convolutions
from lesionlens.models.winograd import Winograd

Shape = tuple[int, int, int, int, int]


def convolved(leaves: list[Tensor | None], gradient: Tensor, own: bool) -> list[Tensor]:
    """Output, and the gradients of images, weight and, where there is one, bias."""
    images, weight, bias = (each.detach().requires_grad_() if each is not None else None for each in leaves)
    found = Winograd.apply(images, weight, bias) if own else torch.conv2d(images, weight, bias, padding=1)
    asked = [each for each in (images, weight, bias) if each is not None]
    return [found.detach(), *torch.autograd.grad(found, asked, gradient)]


def apart(shape: Shape, kind: torch.dtype, own: bool = True, bias: bool = True) -> float:
    """How far one way in this type lies from torch's in float64, at most, as a share of the largest magnitude."""
    samples, channels, kernels, height, width = shape
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(samples, channels, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(kernels, channels, 3, 3, generator=generator, dtype=torch.float64) / (3 * channels**0.5)
    added = torch.randn(kernels, generator=generator, dtype=torch.float64) if bias else None
    gradient = torch.randn(samples, kernels, height, width, generator=generator, dtype=torch.float64)
    leaves = [images.contiguous(memory_format=torch.channels_last), weight, added]
    cast = [each.to(kind) if each is not None else None for each in leaves]
    sides = zip(convolved(cast, gradient.to(kind), own), convolved(leaves, gradient, own=False), strict=True)
    return max(float((side - right).abs().max() / right.abs().max()) for side, right in sides)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 14), st.integers(1, 14)),
    st.booleans(),
)
def test_values_and_gradients_are_those_of_the_sums(shape: Shape, bias: bool) -> None:
    """Of any size, multiples of a tile or not; in float64, where rounding hides nothing."""
    assert apart(shape, torch.float64, bias=bias) < 1e-13


def test_many_channels_round_little_more_than_the_direct_sums() -> None:
    """What the points sqrt(1/2) and sqrt(2) are chosen for: 1 and 2 round six times as much."""
    shape = (2, 256, 128, 28, 20)
    assert apart(shape, torch.float32) < 3 * apart(shape, torch.float32, own=False)


@pytest.mark.parametrize(
    ("shape", "across", "tiles"),
    [((16, 14, 14), 4, 225), ((8, 18, 14), 4, 150), ((16, 28, 28), 0, 784), ((16, 7, 7), 0, 64), ((1, 14, 14), 0, 16)],
)
def test_images_share_tiles_where_fewer_do(shape: tuple[int, int, int], across: int, tiles: int) -> None:
    """Patches of 224 in layers 3, 2 and 4 of a ResNet, a film of 576 x 448 in layer 4, and an image alone."""
    assert winograd.beside(*shape) == across
    laid = winograd._sheet(torch.ones(shape[0], 1, *shape[1:]))
    count, height, width, _ = laid.shape
    assert count * -(-height // 4) * -(-width // 4) == tiles and laid.sum() == torch.tensor(shape).prod()


@pytest.mark.parametrize("size", [1, 5000, 1 << 40])
def test_bands_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """One row of tiles at a time, some, and all images at once; with tiles of their own, and laid out as one."""
    monkeypatch.setattr(winograd, "BYTES", size)
    for shape in ((3, 2, 4, 25, 8), (6, 3, 2, 9, 10)):
        assert apart(shape, torch.float64) < 1e-13


@pytest.mark.parametrize("size", [8, 9])
def test_what_follows_may_work_in_place(size: int) -> None:
    """As the ReLU of a residual block does."""
    images = torch.randn(2, 3, size, size).contiguous(memory_format=torch.channels_last)
    weight, found = torch.randn(4, 3, 3, 3).requires_grad_(), []
    for own in (True, False):
        output = Winograd.apply(images, weight, None) if own else torch.conv2d(images, weight, None, padding=1)
        assert output.is_contiguous(memory_format=torch.channels_last)
        found.append(torch.autograd.grad(torch.relu_(output).sum(), weight)[0])
    assert torch.allclose(*found, rtol=1e-3, atol=1e-4)


def test_gradients_lie_in_memory_as_weights_do() -> None:
    """So that nothing is copied where they are kept."""
    weight = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    found = Winograd.apply(torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last), weight, None)
    assert torch.autograd.grad(found.sum(), weight)[0].stride() == weight.stride()


def test_only_what_asks_has_a_gradient() -> None:
    images = torch.randn(1, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(2, 3, 3, 3)
    assert Winograd.apply(images, weight, None).grad_fn is None
    for asks in ((True, False), (False, True)):
        leaves = [each.clone().requires_grad_(ask) for each, ask in zip((images, weight), asks, strict=True)]
        Winograd.apply(*leaves, None).sum().backward()
        assert [leaf.grad is not None for leaf in leaves] == list(asks)


def test_it_is_taken_where_it_pays_and_means_the_same() -> None:
    def taken(layer: nn.Conv2d, samples: int = 2, size: int = 12, layout: Any = torch.channels_last) -> bool:
        weight, channels = next(layer.parameters()), layer.in_channels
        images = torch.zeros(samples, channels, size, size, dtype=weight.dtype).contiguous(memory_format=layout)
        with Convolutions(products=False):
            return "Winograd" in type(layer(images).grad_fn).__name__

    wide = nn.Conv2d(128, 128, 3, padding=1)
    others = {
        "stride": nn.Conv2d(128, 128, 3, padding=1, stride=2),
        "unpadded": nn.Conv2d(128, 128, 3),
        "dilation": nn.Conv2d(128, 128, 3, padding=1, dilation=2),
        "groups": nn.Conv2d(256, 256, 3, padding=1, groups=2),
        "point": nn.Conv2d(128, 128, 1),
        "five": nn.Conv2d(128, 128, 5, padding=1),
        "few": nn.Conv2d(128, 32, 3, padding=1),
        "double": nn.Conv2d(128, 128, 3, padding=1).double(),
        "reflected": nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect"),
    }
    assert taken(wide) and not [name for name, layer in others.items() if taken(layer, samples=4)]
    assert not taken(wide, layout=torch.contiguous_format) and not taken(wide, samples=1) and not taken(wide, size=6)
