"""A classifier cut into blocks: stem, unit2, unit1, for films a top, a pooling that may have weights, and the head."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

Block = Literal["stem", "unit2", "unit1", "top", "pool", "head"]
BLOCKS: tuple[Block, ...] = ("stem", "unit2", "unit1", "head")
"""Those of every model; films have a top, and prototypes, in the place of the pooling, have weights."""
Layer = Literal["block", "conv"]
Level = Literal["pixels", "stem", "unit2", "unit1", "pooled"]
"""What may be stored of a sample: the input, or the output of a block or of the pooling before the head."""

_AFTER: dict[Level, int] = {"pixels": 0, "stem": 1, "unit2": 2, "unit1": 3, "pooled": 5}


def together(most: int, shape: tuple[int, ...]) -> int:
    """How many samples of (height, width) go through a network at once: `most` of 224 x 224, fewer larger ones."""
    return max(1, min(most, most * 224 * 224 // (shape[-2] * shape[-1])))


class Model(Protocol):
    """Anything that scores classes. Models that have them also offer `blocks` and `map_block`, as `Classifier` does."""

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits float32 [n, classes] of normalised inputs float32 [n, 3, h, w]."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """A network without its head. last_conv: name of the last convolution in unit1; width: pooled features; top: what
    lies between unit1 and pooling."""

    stem: nn.Module
    unit2: nn.Module
    unit1: nn.Module
    pool: nn.Module
    last_conv: str
    width: int
    top: nn.Module = field(default_factory=nn.Identity)


class EachView(nn.Sequential):
    """A block over pairs of films [n, c, 2 h, w]: no layer sees both, and outputs lie one above the other, too."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__(OrderedDict(block.named_children()))  # the block's own names, by which weights are known

    def forward(self, pairs: Tensor) -> Tensor:
        """The block's output [n, c', 2 h', w'], the upper film's first."""
        films = torch.unflatten(pairs, 2, (2, -1)).transpose(1, 2).flatten(0, 1)
        for module in self:
            films = module(films)
        return torch.unflatten(films, 0, (-1, 2)).transpose(1, 2).flatten(2, 3)


class Head(nn.Linear):
    """A linear layer that, in training, sees a proportion `dropout` of its inputs as 0 and the others scaled up."""

    dropout: float = 0.0

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits [n, classes] of pooled features [n, c]."""
        return super().forward(dropout(pooled, self.dropout, self.training))


class Classifier(nn.Module):
    """stem, unit2, unit1, for films a top, global pooling and a linear head, in this order.

    `backbone` is its name in the registry; without a top that block does nothing.
    """

    def __init__(self, backbone: str, trunk: Trunk, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.stem = trunk.stem
        self.unit2 = trunk.unit2
        self.unit1 = trunk.unit1
        self.top = trunk.top
        self.pool = trunk.pool
        self.head: nn.Linear = Head(trunk.width, classes)
        self.last_conv = trunk.last_conv

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits float32 [n, classes] of normalised inputs float32 [n, 3, h, w]."""
        return self.from_level("pixels", inputs)

    forward = logits

    @property
    def blocks(self) -> dict[Block, nn.Module]:
        """The blocks that have parameters, from the input to the output."""
        there = {"top": self.has_top, "pool": any(True for _ in self.pool.parameters())}
        return {name: self.get_submodule(name) for name in get_args(Block) if there.get(name, True)}

    @property
    def has_top(self) -> bool:
        """Whether something lies between unit1, whose output maps explain, and pooling."""
        return not isinstance(self.top, nn.Identity)

    @property
    def views(self) -> int:
        """Films that lie in a sample, one above the other."""
        return 2 if isinstance(self.stem, EachView) else 1

    def map_block(self, layer: Layer) -> nn.Module:
        """The module whose output an activation map explains.

        block: the last block after its activation; conv: the last convolution alone. Nothing downstream overwrites
        either output in place, so both can be hooked.
        """
        return self.unit1 if layer == "block" else self.unit1.get_submodule(self.last_conv)

    def between(self, start: Level, end: Level | None = None) -> tuple[nn.Module, ...]:
        """The modules that lead from one level to another, or to the logits."""
        modules = (self.stem, self.unit2, self.unit1, self.top, self.pool, self.head)
        return modules[_AFTER[start] : _AFTER[end] if end else None]

    def from_level(self, level: Level, x: Tensor) -> Tensor:
        """Logits from a level's values: [n, c, h, w], or [n, c] for pooled."""
        for module in self.between(level):
            x = module(x)
        return x

    def to_level(self, level: Level, inputs: Tensor) -> Tensor:
        """A level's values for inputs float32 [n, 3, h, w]."""
        for module in self.between("pixels", level):
            inputs = module(inputs)
        return inputs
