"""3 x 3 convolutions with a quarter of the products, on a CPU.

Winograd's minimal filtering F(4 x 4, 3 x 3), Lavin and Gray 2016 (Fast algorithms for convolutional neural networks):
the 4 x 4 outputs of a tile, which 6 x 6 inputs reach, take 36 products a channel instead of 144. Of the points 0, +-a,
+-b and infinity, a = sqrt(1/2) and b = sqrt(2) let float32 round as little as the direct sum does (Alam et al. 2022,
Winograd convolution for deep neural networks: efficient point selection).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
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
OUTPUT = torch.tensor(
    [[1, 2, 2, 0.5, 0.5, 0], [0, 2 * A, -2 * A, A, -A, 0], [0, 1, 1, 1, 1, 0], [0, A, -A, B * B * A, -B * B * A, 1]],
    dtype=torch.float64,
)
"""float64 [4, 6]: outputs in line from products at the points."""
OUTPUTS = torch.kron(OUTPUT, OUTPUT)
"""float64 [16, 36]: the same along both axes."""
BYTES = 8 << 20
"""Of a band at its points: what a processor's cache holds."""


class Winograd(torch.autograd.Function):
    """The convolution of images [n, c, h, w] in channels_last by a weight [k, c, 3, 3], stride 1, padding 1.

    Kept for the gradients are the images as they are laid out, those that are one band at the points, too, and the
    weight at the points, four times its size.
    """

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        kernels, sheet = _at_points(weight), _sheet(images)
        found, inputs = _convolved(sheet, kernels.transpose(1, 2))
        context.save_for_backward(sheet, kernels, inputs if context.needs_input_grad[1] else None)
        found = _cut(found, images.shape)
        return found if bias is None else found.add_(bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (sheet, kernels, inputs), (gradient,) = context.saved_tensors, gradients
        own, learnt, biased = context.needs_input_grad
        laid = _sheet(gradient)
        return (
            _cut(_convolved(laid, kernels, turned=True)[0], gradient.shape) if own else None,
            gradient_of_weight(sheet, laid, inputs) if learnt else None,
            gradient.sum((0, 2, 3)) if biased else None,
        )


@lru_cache(maxsize=1024)
def beside(count: int, height: int, width: int) -> int:
    """How many of so many images lie side by side where all are laid out as one, a line of zeros between them, because
    fewer tiles then reach beyond an edge; 0: each image has tiles of its own, and they are no more."""

    def tiles(down: int, across: int) -> int:
        return math.ceil((down * (height + 1) - 1) / TILE) * math.ceil((across * (width + 1) - 1) / TILE)

    found = {across: tiles(count // across, across) for across in range(1, count + 1) if count % across == 0}
    best = min(found, key=lambda across: found[across])
    return best if found[best] < count * tiles(1, 1) else 0


def _sheet(images: Tensor) -> Tensor:
    """Images [n, c, h, w] in channels_last as they are laid out: [m, h', w', c]."""
    count, channels, height, width = images.shape
    rows = images.permute(0, 2, 3, 1).contiguous()
    if not (across := beside(count, height, width)):
        return rows
    down = count // across
    laid = rows.new_zeros(down, height + 1, across, width + 1, channels)
    laid[:, :height, :, :width] = rows.view(down, across, height, width, channels).transpose(1, 2)
    return laid.view(1, down * (height + 1), across * (width + 1), channels)[:, :-1, :-1]


def _cut(found: Tensor, shape: torch.Size) -> Tensor:
    """Whole tiles [m, k, h', w'] of images as they are laid out as images [n, k, h, w] in channels_last, and no view,
    which autograd would let nobody change in place."""
    count, _, height, width = shape
    if found.shape[0] == count and found.shape[2:] == (height, width):
        return found
    across = beside(count, height, width) or 1
    laid = found.permute(0, 2, 3, 1).unfold(1, height, height + 1).unfold(2, width, width + 1)
    laid = laid.flatten(0, 1)[: count // across, :across].permute(0, 1, 3, 4, 2)  # [down, across, h, w, k]
    size = (count, found.shape[1], height, width)
    cut = torch.empty(size, dtype=found.dtype, memory_format=torch.channels_last)
    cut.permute(0, 2, 3, 1).view(laid.shape).copy_(laid)
    return cut


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
    """Images [m, h, w, c] convolved by a weight at the points [36, c, k], or by the weight turned by 180 degrees:
    whole tiles [m, k, h', w'] in channels_last; and the images at the points if they are one band."""
    (count, height, width, _), of = images.shape, kernels.shape[-1]
    size = (count, of, height + -height % TILE, width + -width % TILE)
    found = torch.empty(size, dtype=images.dtype, memory_format=torch.channels_last)
    outputs, inputs = found.permute(0, 2, 3, 1), None
    parts = bands(outputs.shape, *kernels.shape[1:])
    way = -1 if turned else 1  # turning every tile, and its outputs back, turns the weight
    to_outputs = (OUTPUTS.flip(0) if turned else OUTPUTS).to(images.dtype)
    for band in parts:
        inputs = _inputs(band.padded(images, 1), way)
        products = torch.bmm(inputs.flatten(0, 1).flatten(1, 3), kernels)
        values = torch.mm(to_outputs, products.flatten(1)).view(TILE, TILE, *inputs.shape[2:-1], of)
        tiles = _tiles(outputs[band.images, TILE * band.rows.start : TILE * band.rows.stop])
        tiles.permute(2, 4, 0, 1, 3, 5).copy_(values)
    return found, inputs if len(parts) == 1 else None


def gradient_of_weight(images: Tensor, gradient: Tensor, inputs: Tensor | None = None) -> Tensor:
    """[k, c, 3, 3] from images [m, h, w, c] or, at the points, `inputs`, and the gradient [m, h, w, k] of their
    convolution."""
    channels, kernels, found = images.shape[-1], gradient.shape[-1], None
    for band in bands(gradient.shape, channels, kernels):
        own = _inputs(band.padded(images, 1)) if inputs is None else inputs
        outputs = _tiles(band.padded(gradient, 0)).permute(2, 4, 0, 1, 3, 5).reshape(TILE * TILE, -1)
        points = torch.mm(OUTPUTS.T.to(outputs.dtype), outputs).view(REACH * REACH, -1, kernels)
        factors = points.transpose(1, 2), own.flatten(0, 1).flatten(1, 3)
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
