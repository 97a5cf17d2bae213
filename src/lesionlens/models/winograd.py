"""3 x 3 convolutions with a quarter of the products, on a CPU.

Winograd's minimal filtering F(4 x 4, 3 x 3), Lavin and Gray 2016 (Fast algorithms for convolutional neural networks):
the 4 x 4 outputs of a tile, which 6 x 6 inputs reach, take 36 products a channel instead of 144. Of the points 0, +-a,
+-b and infinity, a = sqrt(1/2) and b = sqrt(2) let float32 round as little as the direct sum does (Alam et al. 2022,
Winograd convolution for deep neural networks: efficient point selection).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

TILE, REACH = 4, 6
A, B = math.sqrt(0.5), math.sqrt(2)
KERNEL = torch.tensor(
    [
        [1, 0, 0],
        [-1 / 3, -A / 3, -1 / 6],
        [-1 / 3, A / 3, -1 / 6],
        [1 / 3, B / 3, 2 / 3],
        [1 / 3, -B / 3, 2 / 3],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
"""float64 [6, 3]: a kernel at the points 0, a, -a, b, -b and infinity, with the factors that outputs are spared."""
KERNELS = torch.kron(KERNEL, KERNEL)
"""float64 [36, 9]: the same along both axes."""
BYTES = 8 << 20
"""Of a band at its points: what a processor's cache holds."""


class Winograd(torch.autograd.Function):
    """The convolution of images [n, c, h, w] in channels_last by a weight [k, c, 3, 3], stride 1, padding 1.

    The weight at the points is kept for the gradients, four times its size, and so are images that are one band.
    """

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        kernels = _at_points(weight)
        found, inputs = _convolved(images.permute(0, 2, 3, 1), kernels.transpose(1, 2))
        context.save_for_backward(images, kernels, inputs if context.needs_input_grad[1] else None)
        return found if bias is None else found.add_(bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, kernels, inputs = context.saved_tensors
        gradient = gradients[0].permute(0, 2, 3, 1).contiguous()
        own, learnt, biased = context.needs_input_grad
        return (
            _convolved(gradient, kernels, turned=True)[0] if own else None,
            gradient_of_weight(images.permute(0, 2, 3, 1), gradient, inputs) if learnt else None,
            gradient.sum((0, 1, 2)) if biased else None,
        )


class Band(NamedTuple):
    """Rows of tiles of some images."""

    images: slice
    rows: slice

    def padded(self, images: Tensor, after: int) -> Tensor:
        """Of images [n, h, w, c] the rows from `after` before the first tile to `after` behind the last, with zeros
        where there is no image: [m, 4 rows + 2 after, 4 across + 2 after, c]."""
        height, width = images.shape[1:3]
        top, bottom = TILE * self.rows.start - after, TILE * self.rows.stop + after
        right = -width % TILE + after
        return pad(
            images[self.images, max(top, 0) : bottom], (0, 0, after, right, max(-top, 0), max(bottom - height, 0))
        )


def _at_points(weight: Tensor) -> Tensor:
    """A weight [k, c, 3, 3] at the points: [36, k, c]."""
    return torch.matmul(KERNELS.to(weight.dtype), weight.permute(0, 2, 3, 1).flatten(1, 2)).transpose(0, 1)


def _convolved(images: Tensor, kernels: Tensor, turned: bool = False) -> tuple[Tensor, Tensor | None]:
    """Images [n, h, w, c] convolved by a weight at the points [36, c, k], or by the weight turned by 180 degrees:
    [n, k, h, w] in channels_last, and no view, which autograd would let nobody change in place; and the images at the
    points if they are one band."""
    (count, height, width, _), of = images.shape, kernels.shape[-1]
    size = (count, of, height + -height % TILE, width + -width % TILE)
    found = torch.empty(size, dtype=images.dtype, memory_format=torch.channels_last)
    outputs, inputs = found.permute(0, 2, 3, 1), None
    parts = bands(outputs.shape, *kernels.shape[1:])
    way = -1 if turned else 1  # turning every tile, and its outputs back, turns the weight
    for band in parts:
        inputs = _inputs(band.padded(images, 1), way)
        shape = (*inputs.shape[:-1], of)
        products = torch.bmm(inputs.flatten(0, 1).flatten(1, 3), kernels).view(shape)
        rows = products.new_empty(TILE, *shape[1:])
        _to_outputs(products, rows.unbind()[::way])
        tiles = _tiles(outputs[band.images, TILE * band.rows.start : TILE * band.rows.stop])
        _to_outputs(rows.transpose(0, 1), tiles.permute(4, 2, 0, 1, 3, 5).unbind()[::way])
    if size[2:] != (height, width):
        found = outputs[:, :height, :width].permute(0, 3, 1, 2).clone(memory_format=torch.channels_last)
    return found, inputs if len(parts) == 1 else None


def gradient_of_weight(images: Tensor, gradient: Tensor, inputs: Tensor | None = None) -> Tensor:
    """[k, c, 3, 3] from images [n, h, w, c] or, at the points, `inputs`, and the gradient [n, h, w, k] of their
    convolution."""
    channels, kernels = images.shape[-1], gradient.shape[-1]
    found = None
    for band in bands(gradient.shape, channels, kernels):
        own = _inputs(band.padded(images, 1)) if inputs is None else inputs
        outputs = _tiles(band.padded(gradient, 0)).permute(4, 2, 0, 1, 3, 5)
        columns = outputs.new_empty(REACH, *outputs.shape[1:])
        _from_outputs(outputs, columns)
        points = columns.new_empty(REACH, REACH, *columns.shape[2:])
        _from_outputs(columns.transpose(0, 1), points)
        factors = points.flatten(0, 1).flatten(1, 3).transpose(1, 2), own.flatten(0, 1).flatten(1, 3)
        found = torch.bmm(*factors) if found is None else found.baddbmm_(*factors)
    assert found is not None  # there is an image
    learnt = torch.matmul(KERNELS.T.to(found.dtype), found.transpose(0, 1))  # in the order that weights lie in memory
    return learnt.view(kernels, 3, 3, channels).permute(0, 3, 1, 2)


def bands(shape: Sequence[int], channels: int, kernels: int) -> list[Band]:
    """All rows of tiles of images of shape [n, h, w, _], in parts that a cache holds, and no smaller than the weights
    that each part reads."""
    count, down, across = shape[0], math.ceil(shape[1] / TILE), math.ceil(shape[2] / TILE)
    most = max(BYTES // (4 * REACH * REACH * max(channels, kernels) * across), min(channels, kernels) // across, 1)
    images, rows = max(most // down, 1), math.ceil(down / math.ceil(down / most))
    return [
        Band(slice(first, min(first + images, count)), slice(top, min(top + rows, down)))
        for first in range(0, count, images)
        for top in range(0, down, rows)
    ]


def _tiles(images: Tensor) -> Tensor:
    """A view of images [m, 4 rows, 4 across, c]: [m, rows, 4, across, 4, c]."""
    count, height, width, channels = images.shape
    return images.view(count, height // TILE, TILE, width // TILE, TILE, channels)


def _inputs(padded: Tensor, way: int = 1) -> Tensor:
    """Images [m, 4 rows + 2, 4 across + 2, c] at the points: [6, 6, m, rows, across, c], along rows and columns; way
    -1: each tile turned by 180 degrees."""
    count, height, width, channels = padded.shape
    down, across = height // TILE, width // TILE
    columns = padded.new_empty(REACH, count, height, across, channels)
    _from_inputs([padded[:, :, at : at + width - REACH + 1 : TILE] for at in range(REACH)][::way], columns)
    found = padded.new_empty(REACH, REACH, count, down, across, channels)
    _from_inputs([columns[:, :, at : at + height - REACH + 1 : TILE] for at in range(REACH)][::way], found)
    return found


def _from_inputs(parts: Sequence[Tensor], found: Tensor) -> None:
    """Six inputs in line at the points, into found[6]: the product of (x^2 - 1/2)(x^2 - 2) without a point's own
    factor, evaluated at the inputs."""
    torch.sub(parts[0], parts[2], alpha=2.5, out=found[0]).add_(parts[4])
    torch.sub(parts[1], parts[3], alpha=2.5, out=found[5]).add_(parts[5])
    for at, point, other in ((1, A, 2), (3, B, 0.5)):
        even, odd = torch.sub(parts[4], parts[2], alpha=other), torch.sub(parts[3], parts[1], alpha=other)
        torch.add(even, odd, alpha=point, out=found[at])
        torch.sub(even, odd, alpha=point, out=found[at + 1])


def _to_outputs(points: Tensor, found: Sequence[Tensor]) -> None:
    """Four outputs in line, into found[4], from products at the points [6]."""
    small, big = points[1] + points[2], points[3] + points[4]
    torch.add(points[0], small, alpha=2, out=found[0]).add_(big, alpha=0.5)
    torch.add(small, big, out=found[2])
    small, big = points[1] - points[2], points[3] - points[4]
    torch.add(big, small, alpha=2, out=found[1]).mul_(A)
    torch.add(points[5], small.add_(big, alpha=2), alpha=A, out=found[3])


def _from_outputs(parts: Tensor, found: Tensor) -> None:
    """The transpose of `_to_outputs`: gradients [4] of outputs in line, into found[6]."""
    found[0].copy_(parts[0])
    found[5].copy_(parts[3])
    for at, power, point in ((1, 2, A), (3, 0.5, B)):
        even, odd = torch.add(parts[2], parts[0], alpha=power), torch.add(parts[3], parts[1], alpha=power)
        torch.add(even, odd, alpha=point, out=found[at])
        torch.sub(even, odd, alpha=point, out=found[at + 1])
