"""How passes through a network compute: precision, and the fastest way to each convolution on a CPU."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from lesionlens.config.training import Precision
from lesionlens.models import winograd

SAMPLES = 16
"""From which on torch has oneDNN compute 1 x 1 convolutions on one thread."""
PIXELS, PIXELS_OF_WIDE, WIDE = 200, 400, 1024
"""Of a sample at most, so that oneDNN finds them in the cache for the gradient of a 1 x 1 weight; of WIDE channels."""
ALIGNED = 8
"""Samples of a multiple of so many pixels lie in memory where they drive each other out of the cache."""
FEW = 48
"""Pixels of a sample below which calls cost more than that."""
CHANNELS = 64
"""From which on fewer products pay for the sums that Winograd's way takes beside them."""
LEARNT, SEEN = 512, 1024
"""A weight of so many channels and more learns by matrix products where its kernel meets so few pixels and less."""
PLACES = 9
"""Of a kernel at most, where weights learn by matrix products for want of AVX-512; each takes a product of its own."""


class Convolutions(TorchFunctionMode):
    """Convolutions of float32 images on a CPU, each in the way that is fastest (benchmarks/RESULTS.md).

    3 x 3 convolutions take Winograd's way, with a quarter of the products, but where channels or pixels are few; with
    few pixels the gradient of the weight is a sum of matrix products. 1 x 1 convolutions are split along their pixels,
    into samples of their own: on one thread torch gives fewer than SAMPLES to its own matrix products instead of
    oneDNN, and of large ones the gradient of the weight takes up to 1.6 times as long. Grey images, one channel
    repeated (`expand`), meet kernels once and not in every channel. products: other weights learn by matrix products,
    however many pixels they see; by AVX2 oneDNN takes up to 3.4 times as long for them in channels_last. Values are the
    same but for rounding.
    """

    def __init__(self, products: bool) -> None:
        super().__init__()
        self.products = products

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The function's result; of a convolution by another way where one pays."""
        convolution = function is torch.conv2d and not kwargs and len(args) == 7
        if convolution and args[0].dtype == torch.float32 and args[0].dim() == 4:
            if _is_of_tiles(*args):
                return winograd.Winograd.apply(*args[:3])
            if _is_grey(*args):
                images, weight, bias, *sizes = args[:5]
                grey = images[:, 0, :, :, None].permute(0, 3, 1, 2)  # strides by which oneDNN takes it as channels_last
                return _Grey.apply(grey, weight.sum(1, keepdim=True), bias, *map(_pair, sizes))
            way = _Learnt.apply if _learns_in_products(self.products, *args) else torch.conv2d
            return _at_each_pixel(way, *args[:3]) if _is_point(*args) else way(*args)
        return function(*args, **(kwargs or {}))


def arithmetic(device: torch.device, wanted: Precision = "float32") -> AbstractContextManager[object]:
    """How the passes of training compute: bfloat16 autocast on a GPU, and on a CPU where it is wanted (how much faster
    it is there depends on the processor); else float32."""
    if device.type == "cuda" or wanted == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return float32()


def float32() -> Convolutions:
    """Passes in float32, with the fastest convolutions of this processor."""
    return Convolutions(products=torch.backends.cpu.get_cpu_capability() == "AVX2")


def channels_last(images: Tensor) -> Tensor:
    """Images as networks are fastest with them on a CPU: in channels_last, or grey ones, one channel repeated, as they
    are."""
    return images if _is_repeated(images) else images.contiguous(memory_format=torch.channels_last)


def _is_repeated(images: Tensor) -> bool:
    return images.shape[1] > 1 and images.stride(1) == 0


def _is_of_tiles(
    images: Tensor, weight: Tensor, _bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> bool:
    """Whether it is a plain 3 x 3 convolution of images in channels_last on a CPU, with channels enough, and outputs
    enough to pay for the weight at the points."""
    samples, _, height, width = images.shape
    plain = weight.shape[-2:] == (3, 3) and groups == 1 and _all(1, stride, padding, dilation)
    enough = 2 * samples * height * width >= 3 * max(weight.shape[:2])
    fits = plain and enough and min(weight.shape[:2]) >= CHANNELS and images.device.type == "cpu"
    return fits and images.is_contiguous(memory_format=torch.channels_last)


def _learns_in_products(
    wanted: bool,
    images: Tensor,
    weight: Tensor,
    _bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> bool:
    """Whether a weight learns by matrix products from images in channels_last on a CPU: where they are wanted one with
    channels enough for its kernel, else a wide one that sees few pixels."""
    learns = weight.requires_grad and torch.is_grad_enabled() and images.device.type == "cpu" and len(images) > 0
    plain = groups == 1 and not isinstance(padding, str) and _all(1, dilation)
    if not (learns and plain and images.is_contiguous(memory_format=torch.channels_last)):
        return False
    (channels, *kernel), places = weight.shape[1:], weight.shape[2:].numel()
    if wanted and (places == 1 or (channels >= CHANNELS and places <= PLACES)):
        return True
    sizes = zip(images.shape[2:], kernel, _pair(stride), _pair(padding), strict=True)
    seen = len(images) * math.prod((size + 2 * edge - side) // step + 1 for size, side, step, edge in sizes)
    return channels >= LEARNT and 0 < seen <= SEEN


def _all(size: int, *sizes: Any) -> bool:
    return all(each in (size, (size, size), [size, size]) for each in sizes)


def _is_point(
    images: Tensor, weight: Tensor, _bias: Tensor | None, stride: Any, padding: Any, _dilation: Any, groups: int
) -> bool:
    """Whether it is a plain 1 x 1 convolution of images in channels_last on a CPU."""
    whole = _all(1, stride) and padding in (0, (0, 0), [0, 0])
    plain = weight.shape[-2:] == (1, 1) and whole and groups == 1 and images.device.type == "cpu"
    return plain and len(images) > 0 and images.is_contiguous(memory_format=torch.channels_last)


@lru_cache(maxsize=1024)
def parts(samples: int, pixels: int, channels: int) -> int:
    """Into how many samples each of `samples` images of so many pixels and channels is split; 1: it stays whole."""
    most = min(pixels, PIXELS if channels < WIDE else PIXELS_OF_WIDE)
    sizes = [size for size in range(1, most + 1) if pixels % size == 0 and samples * pixels >= SAMPLES * size]
    apart = [size for size in sizes if size >= FEW and size % ALIGNED]
    return pixels // max(apart or sizes or [pixels])


def _at_each_pixel(way: Callable[..., Tensor], images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1 x 1 convolution of images in channels_last, whose pixels are samples of their own as far as it can tell."""
    samples, channels, height, width = images.shape
    if (count := parts(samples, height * width, channels)) == 1:
        return way(images, weight, bias, 1, 0, 1, 1)
    pixels = images.permute(0, 2, 3, 1).view(samples * count, -1, 1, channels)
    found = way(pixels.permute(0, 3, 1, 2), weight, bias, 1, 0, 1, 1).permute(0, 2, 3, 1)
    return found.view(samples, height, width, -1).permute(0, 3, 1, 2)


def _is_grey(
    images: Tensor, weight: Tensor, _bias: Tensor | None, _stride: Any, padding: Any, dilation: Any, groups: int
) -> bool:
    """Whether the channels of images on a CPU are one."""
    one = _is_repeated(images) and len(images) > 0 and images.device.type == "cpu"
    return one and weight.shape[-2:].numel() > 1 and groups == 1 and not isinstance(padding, str) and _all(1, dilation)


def _pair(size: Any) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


class _Grey(torch.autograd.Function):
    """A convolution of one channel; oneDNN takes three to four times as long for the gradient of so few."""

    @staticmethod
    def forward(
        context: Any, grey: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int]
    ) -> Tensor:
        context.save_for_backward(grey, weight)
        context.stride, context.padding = stride, padding
        return torch.conv2d(grey, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (grey, weight), how = gradients, context.saved_tensors, (context.stride, context.padding)
        own, learnt, biased, *_ = context.needs_input_grad
        return (
            _of_grey(gradient, grey.shape, weight, *how) if own else None,
            torch.ops.aten.convolution_backward(
                gradient, grey, weight, None, *how, [1, 1], False, [0, 0], 1, [False, True, False]
            )[1] if learnt else None,
            gradient.sum((0, 2, 3)) if biased else None,
            None, None,
        )  # fmt: skip


def _of_grey(gradient: Tensor, shape: torch.Size, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    """The gradient of images [n, 1, h, w] from that of their convolution: each value of the kernel adds to the pixels
    that it has met."""
    (down, across), (above, aside), (_, _, height, width) = stride, padding, shape
    count, _, rows, columns = gradient.shape
    met = torch.mm(weight.flatten(1).T, gradient.permute(0, 2, 3, 1).flatten(0, 2).T).view(-1, count, rows, columns)
    found = gradient.new_zeros(count, height + 2 * above, width + 2 * aside)
    for value, (y, x) in zip(met, product(*map(range, weight.shape[-2:])), strict=True):
        found[:, y : y + down * rows : down, x : x + across * columns : across] += value
    return found[:, None, above : above + height, aside : aside + width]


class _Learnt(torch.autograd.Function):
    """A convolution by torch, but for the gradient of its weight."""

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        context.save_for_backward(images, weight)
        context.how = how
        return torch.conv2d(images, weight, bias, *how)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (images, weight) = gradients, context.saved_tensors
        (own, _, biased, *_), (*sizes, groups) = context.needs_input_grad, context.how
        stride, padding, dilation = map(_pair, sizes)
        how = (None, stride, padding, dilation, False, [0, 0], groups, [True, False, False])
        return (
            torch.ops.aten.convolution_backward(gradient, images, weight, *how)[0] if own else None,
            _in_products(images, gradient, weight, stride, padding),
            gradient.sum((0, 2, 3)) if biased else None,
            *[None] * 4,
        )


def _in_products(images: Tensor, gradient: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    """The gradient of a weight, by one product for each place of the kernel: of the gradient of the convolution, and of
    the pixels that the place meets."""
    (down, across), (above, aside) = stride, padding
    rows = images.permute(0, 2, 3, 1)
    padded = pad(rows, (0, 0, aside, aside, above, above)) if above or aside else rows
    _, kernels, height, width = gradient.shape
    factor = gradient.permute(1, 0, 2, 3).reshape(kernels, -1)
    learnt = torch.empty_like(weight, memory_format=torch.channels_last)
    for y, x in product(*map(range, weight.shape[2:])):
        met = padded[:, y : y + down * (height - 1) + 1 : down, x : x + across * (width - 1) + 1 : across]
        learnt[:, :, y, x] = torch.mm(factor, met.flatten(0, 2))
    return learnt
