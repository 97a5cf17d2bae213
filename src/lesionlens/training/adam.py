"""Adam: torch's plain one where exactness is asked for, else fused, and without a copy that the fused one makes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def make_adam(groups: Sequence[dict[str, Any]], device: torch.device, exact: bool) -> torch.optim.Optimizer:
    """The optimiser of parameter groups that are on the device; with CUDA it can be captured in a graph."""
    if exact:
        return torch.optim.Adam(groups)
    if device.type == "cuda":
        return torch.optim.Adam(groups, fused=True, capturable=True)
    return ChannelsLastAdam(groups, fused=True)


class ChannelsLastAdam(torch.optim.Adam):
    """The fused Adam of a CPU, same bits, for weights that lie channels-last.

    Its kernel first makes a copy of every gradient that is not in torch's default layout, which takes a third to a
    half of the step of a network of 3 x 3 convolutions. Seen as [out, rows, columns, in], the way they lie, the same
    tensors are in that layout.
    """

    def _init_group(self, group: dict[str, Any], *gathered: Any) -> bool:
        is_complex: bool = super()._init_group(group, *gathered)  # type: ignore[no-untyped-call]
        parameters, gradients, means, variances, *_ = gathered
        for tensors in (gradients, means, variances, parameters):  # the parameters last: they decide
            tensors[:] = [_as_it_lies(each, like) for each, like in zip(tensors, parameters, strict=True)]
        return is_complex


def _as_it_lies(tensor: Tensor, like: Tensor) -> Tensor:
    if like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1)
    return tensor
