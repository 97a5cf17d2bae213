"""The gradient of a weight of 3 x 3 and stride 2, with five ninths of the products, on a CPU.

Of the values in line, those at odd places, o[j] = x[2 j - 1], meet the outer two values of a kernel, those at even
places its middle: y[i] = o[i] w0 + o[i + 1] w2 + x[2 i] w1. The former is a convolution by two values, of which
Winograd's F(4, 2) (Lavin and Gray 2016) takes four outputs by five products instead of eight, at the points +-a, +-b
and infinity of `winograd`. In a plane rows and columns do either: four kinds of places. Forward and for the gradient of
the images it does not pay: the sums beside the products take what these spare.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from lesionlens.models.convolutions.winograd import TILE, A, B, Band, bands

REACH = 5
MIDDLE = REACH
KERNEL = torch.tensor(
    [
        [-1 / (3 * A), 0, -1 / 3],
        [1 / (3 * A), 0, -1 / 3],
        [1 / (3 * B), 0, 1 / 3],
        [-1 / (3 * B), 0, 1 / 3],
        [0, 0, 1],
        [0, 1, 0],
    ],
    dtype=torch.float64,
)
"""float64 [6, 3]: a kernel's outer values at the points a, -a, b, -b and infinity, and its middle."""
_PLANE = torch.kron(KERNEL, KERNEL).view(REACH + 1, REACH + 1, 9)
PLACES = (
    _PLANE[:MIDDLE, :MIDDLE].reshape(-1, 9),
    _PLANE[:MIDDLE, MIDDLE],
    _PLANE[MIDDLE, :MIDDLE],
    _PLANE[MIDDLE, MIDDLE:],
)
"""float64 [25, 9], [5, 9], [5, 9], [1, 9]: the same in a plane, where rows and columns are odd, rows alone, columns
alone, neither."""


def gradient_of_weight(images: Tensor, gradient: Tensor) -> Tensor:
    """[k, c, 3, 3] from images [n, 2 h, 2 w, c] and the gradient [n, h, w, k] of their convolution by a weight
    [k, c, 3, 3] with stride 2 and padding 1."""
    channels, kernels = images.shape[-1], gradient.shape[-1]
    found = [images.new_zeros(len(place), kernels, channels) for place in PLACES]
    for band in bands(gradient.shape, channels, kernels):
        sides = zip(found, _outputs(gradient, band), _inputs(images, gradient.shape, band), strict=True)
        for products, outputs, inputs in sides:
            products.baddbmm_(outputs.transpose(1, 2), inputs)
    factors = torch.cat(PLACES).T.to(images.dtype)
    learnt = torch.matmul(factors, torch.cat(found).transpose(0, 1))  # in the order that weights lie in memory
    return learnt.view(kernels, 3, 3, channels).permute(0, 3, 1, 2)


def _inputs(images: Tensor, shape: torch.Size, band: Band) -> list[Tensor]:
    """What the outputs [n, h, w, k] of a band reach, at the points of each kind of place: [points, places, c]."""
    rows, width = len(range(shape[1])[TILE * band.rows.start : TILE * band.rows.stop]), shape[2]
    top, bottom = 2 * TILE * band.rows.start - 1, 2 * TILE * band.rows.stop
    right = -images.shape[2] % (2 * TILE)
    beyond = (0, 0, 1, right, max(-top, 0), max(bottom - images.shape[1], 0))
    padded = pad(images[band.images, max(top, 0) : bottom], beyond)
    odd, even = padded[:, 0::2], padded[:, 1::2][:, :rows]
    columns = _inputs_at_points(odd[:, :, 0::2], 2)
    return [
        _inputs_at_points(columns, 2).flatten(0, 1).flatten(1, -2),
        _inputs_at_points(odd[:, :, 1::2][:, :, :width], 1).flatten(1, -2),
        _inputs_at_points(even[:, :, 0::2], 2).flatten(1, -2),
        even[:, :, 1::2][:, :, :width].flatten(0, -2)[None],
    ]


def _outputs(gradient: Tensor, band: Band) -> list[Tensor]:
    """Gradients of a band's outputs at the same points: [points, places, k]."""
    own = gradient[band.images, TILE * band.rows.start : TILE * band.rows.stop]
    padded = pad(own, (0, 0, 0, -own.shape[2] % TILE, 0, -own.shape[1] % TILE))
    columns = _outputs_at_points(padded, 2)
    return [
        _outputs_at_points(columns, 2).flatten(0, 1).flatten(1, -2),
        _outputs_at_points(padded[:, :, : own.shape[2]], 1).flatten(1, -2),
        columns[:, :, : own.shape[1]].flatten(1, -2),
        own.flatten(0, -2)[None],
    ]


def _inputs_at_points(lines: Tensor, axis: int) -> Tensor:
    """Inputs with 4 t + 1 in line along an axis, at the points: [5, ..., t, ...]. The product of (x^2 - 1/2)(x^2 - 2)
    without a point's own factor, evaluated at the inputs."""
    parts = lines.unfold(axis, REACH, TILE).unbind(-1)
    found = lines.new_empty(REACH, *parts[0].shape)
    torch.sub(parts[0], parts[2], alpha=2.5, out=found[4]).add_(parts[4])
    for at, point, other in ((0, A, 2), (2, B, 0.5)):
        even, odd = torch.sub(parts[2], parts[0], alpha=other), torch.sub(parts[3], parts[1], alpha=other)
        torch.add(odd, even, alpha=point, out=found[at])
        torch.sub(odd, even, alpha=point, out=found[at + 1])
    return found


def _outputs_at_points(lines: Tensor, axis: int) -> Tensor:
    """Gradients of outputs, 4 t in line along an axis, at the points: [5, ..., t, ...]."""
    parts = lines.unfold(axis, TILE, TILE).unbind(-1)
    found = lines.new_empty(REACH, *parts[0].shape)
    found[4].copy_(parts[3])
    for at, power, point in ((0, 0.5, A), (2, 2, B)):
        even, odd = torch.add(parts[0], parts[2], alpha=power), torch.add(parts[1], parts[3], alpha=power)
        torch.add(even, odd, alpha=point, out=found[at])
        torch.sub(even, odd, alpha=point, out=found[at + 1])
    return found
