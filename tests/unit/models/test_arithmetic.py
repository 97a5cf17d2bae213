"""Convolutions by another way: the same values and gradients, and only where it pays."""

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from lesionlens.models.arithmetic import Convolutions, arithmetic, parts

CPU = torch.device("cpu")


def test_the_cpu_computes_in_float32_unless_another_precision_is_wanted() -> None:
    for wanted, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with arithmetic(CPU, wanted):  # type: ignore[arg-type]
            assert (torch.randn(2, 2) @ torch.randn(2, 2)).dtype == kind


def test_weights_learn_by_products_where_there_is_no_avx_512(monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(layer: nn.Conv2d, learns: bool = True, layout: Any = torch.channels_last) -> str:
        images = torch.zeros(2, layer.in_channels, 24, 24).contiguous(memory_format=layout)
        with arithmetic(CPU), nullcontext() if learns else torch.no_grad():
            return type(layer(images).grad_fn).__name__

    wide, point = nn.Conv2d(64, 4, 3, 2), nn.Conv2d(8, 4, 1, 2)
    others = [
        nn.Conv2d(32, 4, 3, 2), nn.Conv2d(64, 4, 5), nn.Conv2d(64, 4, 3, 2, dilation=2),
        nn.Conv2d(64, 4, 1, padding="same"), nn.Conv2d(128, 4, 3, 2, groups=2),
        copy.deepcopy(wide).requires_grad_(False),
    ]  # fmt: skip
    for capability, products in (("AVX2", True), ("AVX512", False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda found=capability: found)
        assert ("_Learnt" in kind(wide)) == ("_Learnt" in kind(point)) == products
        assert not any("_Learnt" in each for each in map(kind, others))
        assert "_Learnt" not in kind(wide, learns=False) + kind(wide, layout=torch.contiguous_format)


@pytest.mark.parametrize("how", [{"stride": 2}, {"stride": (1, 3), "bias": False}, {"padding": (0, 2)}, {"padding": 0}])
@pytest.mark.parametrize(
    ("products", "channels", "kernel"), [(False, 512, (3, 3)), (False, 512, (1, 1)), (False, 512, (2, 5)),
                                         (True, 64, (3, 3)), (True, 6, (1, 1))],
)  # fmt: skip
def test_weights_learn_by_products(how: dict[str, Any], products: bool, channels: int, kernel: tuple[int, int]) -> None:
    """Values and all gradients are those of float64; the output and the images' gradient are torch's own."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, channels, 5, 7, generator=generator).contiguous(memory_format=torch.channels_last)
    layer = nn.Conv2d(channels, 24, kernel, **{"padding": 1} | how).to(memory_format=torch.channels_last)
    found = {}
    for kind in (torch.float64, torch.float32):
        own, x = copy.deepcopy(layer).to(kind), images.to(kind).requires_grad_()
        with Convolutions(products):
            output = own(x)
        assert ("_Learnt" in type(output.grad_fn).__name__) == (kind == torch.float32)
        (output.sin() * torch.arange(output.shape[-1])).sum().backward()
        found[kind] = [output, x.grad, *(parameter.grad for parameter in own.parameters())]
    for exact, learnt in zip(found[torch.float64], found[torch.float32], strict=True):
        assert learnt.dim() < 4 or learnt.is_contiguous(memory_format=torch.channels_last)
        assert torch.allclose(exact, learnt.double(), rtol=1e-4, atol=1e-5 * exact.abs().max().item())


def test_other_weights_learn_by_torch() -> None:
    def kind(layer: nn.Conv2d, samples: int = 16, size: int = 8, layout: Any = torch.channels_last) -> str:
        images = torch.zeros(samples, layer.in_channels, size, size).contiguous(memory_format=layout)
        with Convolutions(products=False):
            return type(layer(images).grad_fn).__name__

    others = {
        "narrow": nn.Conv2d(256, 64, 3, 2, 1), "dilation": nn.Conv2d(512, 64, 3, 2, 1, dilation=2),
        "groups": nn.Conv2d(1024, 64, 3, 2, 1, groups=2), "named": nn.Conv2d(512, 64, 1, padding="same"),
        "frozen": nn.Conv2d(512, 64, 3, 2, 1).requires_grad_(False),
    }  # fmt: skip
    wide, point = nn.Conv2d(512, 64, 3, 2, 1), nn.Conv2d(512, 64, 1)
    assert "_Learnt" in kind(wide) and not [name for name, layer in others.items() if "_Learnt" in kind(layer)]
    assert "_Learnt" in kind(point) and "Permute" in kind(point, samples=8)  # few samples of a point are split as well
    assert "_Learnt" not in kind(wide, layout=torch.contiguous_format) + kind(wide, size=18)


@pytest.mark.parametrize(
    ("samples", "size", "split"),
    [(8, 6, True), (3, 7, True), (16, 6, False), (16, 20, True), (1, 3, False), (2, 4, True)],
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("products", [True, False])
def test_pixels_are_samples_of_a_point(samples: int, size: int, split: bool, bias: bool, products: bool) -> None:
    """Values and all gradients are those of float64, where nothing is split."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(samples, 8, size, size, generator=generator).contiguous(memory_format=torch.channels_last)
    layer = nn.Conv2d(8, 6, 1, bias=bias).to(memory_format=torch.channels_last)
    found = {}
    for kind in (torch.float64, torch.float32):
        own, x = copy.deepcopy(layer).to(kind), images.to(kind).requires_grad_()
        with Convolutions(products):
            output = own(x)
        assert ("Permute" in type(output.grad_fn).__name__) == (split and kind == torch.float32)
        assert output.is_contiguous(memory_format=torch.channels_last)
        (output.sin() * torch.arange(size)).sum().backward()
        found[kind] = [output, x.grad, *(parameter.grad for parameter in own.parameters())]
    for exact, split_up in zip(found[torch.float64], found[torch.float32], strict=True):
        assert split_up is not None
        assert torch.allclose(exact, split_up.double(), rtol=1e-4, atol=1e-6 * exact.abs().max().item())


def test_only_plain_points_are_split() -> None:
    images = torch.zeros(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    kinds = {
        "point": nn.Conv2d(4, 4, 1), "stride": nn.Conv2d(4, 4, 1, stride=2), "padded": nn.Conv2d(4, 4, 1, padding=1),
        "groups": nn.Conv2d(4, 4, 1, groups=2), "wide": nn.Conv2d(4, 4, 3), "named": nn.Conv2d(4, 4, 1, padding="same"),
    }  # fmt: skip
    with Convolutions(products=False):
        found = {name for name, layer in kinds.items() if "Permute" in type(layer(images).grad_fn).__name__}
        numbers = torch.conv2d(images, kinds["point"].weight, None, 1, 0, 1, 1).grad_fn
        planes = kinds["point"](images.contiguous()).grad_fn
        for shape in ((0, 4, 8, 8), (4, 8, 8)):  # no image, and one without its batch
            assert kinds["point"](torch.zeros(shape)).shape == shape
    assert found == {"point"} and "Permute" in type(numbers).__name__
    assert "Permute" not in type(planes).__name__


@pytest.mark.parametrize(
    ("samples", "pixels", "channels", "size"),
    [
        (8, 144 * 112, 64, 126), (8, 144 * 112, 256, 126), (8, 36 * 28, 512, 126), (8, 36 * 28, 1024, 252),
        (16, 56 * 56, 64, 196), (16, 14 * 14, 1024, 196), (16, 7 * 7, 2048, 49), (8, 7 * 7, 512, 7),
        (16, 128 * 128, 64, 128), (16, 8 * 8, 64, 64), (1, 9, 64, 9), (8, 211, 64, 1),
    ],
)  # fmt: skip
def test_samples_of_a_point_fit_the_cache(samples: int, pixels: int, channels: int, size: int) -> None:
    """Films of 576 x 448, patches of 224 and 256, few pixels; a power of two and a prime number have no better size."""
    assert pixels // parts(samples, pixels, channels) == size


@pytest.mark.parametrize(("stride", "padding"), [(2, 3), ((2, 1), (0, 2)), (1, 3), (3, 0)])
@pytest.mark.parametrize("shown", [True, False])
def test_grey_images_meet_a_kernel_once(stride: Any, padding: Any, shown: bool) -> None:
    """Values and all gradients are those of float64, in all three channels; shown: pixels need no gradient."""
    generator = torch.Generator().manual_seed(0)
    grey = torch.randn(4, 1, 21, 30, generator=generator)
    layer, found = nn.Conv2d(3, 6, (7, 5), stride, padding).to(memory_format=torch.channels_last), {}
    for kind in (torch.float64, torch.float32):
        own, x = copy.deepcopy(layer).to(kind), grey.to(kind).requires_grad_(not shown)
        with Convolutions(products=False):
            output = own(x.expand(-1, 3, -1, -1))
        assert ("_Grey" in type(output.grad_fn).__name__) == (kind == torch.float32)
        (output.sin() * torch.arange(output.shape[-1])).sum().backward()
        found[kind] = [output, own.weight.grad, own.bias.grad] + [x.grad] * (not shown)
    assert found[torch.float32][0].is_contiguous(memory_format=torch.channels_last)
    for exact, once in zip(found[torch.float64], found[torch.float32], strict=True):
        assert once.shape == exact.shape
        assert torch.allclose(exact, once.double(), rtol=1e-4, atol=1e-5 * exact.abs().max().item())


def test_other_images_and_points_meet_every_channel() -> None:
    def kind(images: torch.Tensor, **how: Any) -> str:
        layer = nn.Conv2d(images.shape[1], 6, **{"kernel_size": 7} | how)
        with Convolutions(products=False):
            return type(layer(images).grad_fn).__name__

    grey = torch.randn(2, 1, 20, 20).expand(-1, 3, -1, -1)
    others = [
        kind(grey.contiguous()), kind(grey, kernel_size=1), kind(grey, dilation=2), kind(grey, padding="same"),
        kind(grey, groups=3), kind(grey[:, :1]),
    ]  # fmt: skip
    assert "_Grey" in kind(grey) and not any("_Grey" in each for each in others)
    with Convolutions(products=False):
        assert nn.Conv2d(3, 6, 7)(grey[:0]).shape == (0, 6, 14, 14)
