"""How passes through a network compute: precision, and the fastest way to each convolution on a CPU."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from lesionlens.config.training import Precision
from lesionlens.models import winograd

LARGE = 24 * 24
"""Pixels of an image from which on a gradient in NCHW pays."""
SAMPLES = 16
"""From which on torch has oneDNN compute 1 x 1 convolutions on one thread."""
CHANNELS = 128
"""From which on fewer products pay for the sums that Winograd's way takes beside them."""
LEARNT = 64
"""From which on they do for the gradient of the weight alone, which takes oneDNN longer than a forward pass."""


class Convolutions(TorchFunctionMode):
    """Convolutions of float32 images on a CPU, each in the way that is fastest (benchmarks/RESULTS.md).

    3 x 3 convolutions of many channels take Winograd's way, with a quarter of the products, and of fewer channels the
    gradient of their weight does. On one thread torch gives 1 x 1 convolutions of fewer than SAMPLES images to its own
    matrix products; split along their pixels they are as many images as oneDNN takes. planar: the gradient of the
    weights of large images is computed in NCHW, whatever their layout; by AVX2 it takes up to twice as long in
    channels_last. Values are the same but for rounding.
    """

    def __init__(self, planar: bool) -> None:
        super().__init__()
        self.planar = planar

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The function's result; of a convolution by another way where one pays."""
        convolution = function is torch.conv2d and not kwargs and len(args) == 7
        if convolution and args[0].dtype == torch.float32 and args[0].dim() == 4:
            if _is_of_tiles(CHANNELS, *args):
                return winograd.Winograd.apply(*args[:3])
            if (way := _way_to_learn(self.planar, *args)) is not None:
                return _Learnt.apply(way, *args)
            if (parts := _parts(*args)) > 1:
                return _split(args[0], args[1], args[2], parts)
        return function(*args, **(kwargs or {}))


def arithmetic(device: torch.device, wanted: Precision = "float32") -> AbstractContextManager[object]:
    """How the passes of training compute: bfloat16 autocast on a GPU, and on a CPU where it is wanted (how much faster
    it is there depends on the processor); else float32."""
    if device.type == "cuda" or wanted == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return float32()


def float32() -> Convolutions:
    """Passes in float32, with the fastest convolutions of this processor."""
    return Convolutions(planar=torch.backends.cpu.get_cpu_capability() == "AVX2")


def _way_to_learn(planar: bool, images: Tensor, weight: Tensor, *how: Any) -> "OfWeight | None":
    """How the gradient of the weight is computed, where not by torch."""
    if not (weight.requires_grad and torch.is_grad_enabled()) or images.device.type != "cpu":
        return None
    large, (_bias, _stride, padding, *_) = images.shape[-2] * images.shape[-1] >= LARGE, how
    if planar and large and weight.shape[-1] > 1 and not isinstance(padding, str):
        return _planar
    return _in_tiles if _is_of_tiles(LEARNT, images, weight, *how) else None


def _is_of_tiles(
    channels: int, images: Tensor, weight: Tensor, _bias: Tensor | None, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> bool:  # fmt: skip
    """Whether it is a plain 3 x 3 convolution of images in channels_last on a CPU, with at least so many channels and
    outputs enough to pay for the weight at the points."""
    samples, _, height, width = images.shape
    plain = weight.shape[-2:] == (3, 3) and groups == 1 and _all(1, stride, padding, dilation)
    enough = 2 * samples * height * width >= 3 * max(weight.shape[:2])
    fits = plain and enough and min(weight.shape[:2]) >= channels and images.device.type == "cpu"
    return fits and images.is_contiguous(memory_format=torch.channels_last)


def _all(size: int, *sizes: Any) -> bool:
    return all(each in (size, (size, size), [size, size]) for each in sizes)


def _parts(
    images: Tensor, weight: Tensor, _bias: Tensor | None, stride: Any, padding: Any, _dilation: Any, groups: int
) -> int:
    """Into how many parts each image is split; 1: it stays whole."""
    samples, _, height, width = images.shape
    whole = _all(1, stride) and padding in (0, (0, 0), [0, 0])
    plain = weight.shape[-2:] == (1, 1) and whole and groups == 1
    alone = torch.get_num_threads() == 1 and images.device.type == "cpu"
    if not plain or not alone or not 0 < samples < SAMPLES:
        return 1
    if not images.is_contiguous(memory_format=torch.channels_last):
        return 1
    least = math.ceil(SAMPLES / samples)
    return next((parts for parts in range(least, height * width + 1) if height * width % parts == 0), 1)


def _split(images: Tensor, weight: Tensor, bias: Tensor | None, parts: int) -> Tensor:
    """A 1 x 1 convolution of images in channels_last, whose pixels are samples of their own as far as it can tell."""
    samples, channels, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).view(samples * parts, -1, 1, channels)
    found = torch.conv2d(pixels.permute(0, 3, 1, 2), weight, bias).permute(0, 2, 3, 1)
    return found.view(samples, height, width, -1).permute(0, 3, 1, 2)


OfWeight = Callable[[Tensor, Tensor, Tensor, tuple[Any, ...]], Tensor]
"""The gradient of a weight from images, the gradient of their convolution, the weight and how it is convolved."""


def _planar(images: Tensor, gradient: Tensor, weight: Tensor, how: tuple[Any, ...]) -> Tensor:
    planar = (each.contiguous() for each in (gradient, images, weight))
    learnt: Tensor = torch.ops.aten.convolution_backward(*planar, *how, [False, True, False])[1]
    return learnt


def _in_tiles(images: Tensor, gradient: Tensor, _weight: Tensor, _how: tuple[Any, ...]) -> Tensor:
    rows = (each.permute(0, 2, 3, 1).contiguous() for each in (images, gradient))
    return winograd.gradient_of_weight(*rows)


class _Learnt(torch.autograd.Function):
    """A convolution by torch, but for the gradient of its weight."""

    @staticmethod
    def forward(context: Any, way: OfWeight, images: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        context.save_for_backward(images, weight)
        context.way, context.how, context.biased = way, how, bias is not None
        return torch.conv2d(images, weight, bias, *how)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (images, weight) = gradients, context.saved_tensors
        *sizes, groups = context.how
        stride, padding, dilation = ([size, size] if isinstance(size, int) else size for size in sizes)
        how = (None, stride, padding, dilation, False, [0, 0], groups)
        own = None
        if context.needs_input_grad[1]:
            own = torch.ops.aten.convolution_backward(gradient, images, weight, *how, [True, False, False])[0]
        learnt = context.way(images, gradient, weight, how)
        return None, own, learnt, gradient.sum((0, 2, 3)) if context.biased else None, *[None] * 4
