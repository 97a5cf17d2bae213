"""What a training step takes for a sample: its pixels, cached features, or features computed on the fly."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesionlens.config.training import Normalise
from lesionlens.identity import bytes_digest, digest
from lesionlens.models.classifier import Classifier, Level
from lesionlens.records import SampleArrays, Split
from lesionlens.samples.normalise import normalise
from lesionlens.training.augment import Variants

CHUNK = 256
Source = Callable[[Tensor], Tensor]
"""Sample positions int64 [n] -> float32 [n, ...] on the device: pixels or features of these samples."""


class Inputs:
    """Called with positions: pixels float32 [n, 3, h, w], normalised, on the device, all three channels one memory.

    Behind the positions of the samples lie those of their variants, if any, made when asked for. A GPU keeps all
    normalised samples in its memory if they take less than half of what is free.
    """

    def __init__(
        self, patches: SampleArrays, mode: Normalise, device: torch.device, variants: Variants | None = None
    ) -> None:
        self.patches = patches
        self.mode = mode
        self.device = device
        self.variants = None if variants is None else variants.to(device)

    def __len__(self) -> int:
        return len(self.patches.ids if self.variants is None else self.variants.base)

    def __call__(self, rows: Sequence[int] | Tensor) -> Tensor:
        at, resident = torch.as_tensor(rows, dtype=torch.int64), self._resident
        base = at if self.variants is None else self.variants.base[at.to(self.device)]
        grey = self._grey(base.cpu().numpy()) if resident is None else resident[base.to(self.device)]
        grey = grey.to(self.device)
        if self.variants is not None:
            grey = self.variants.pixels(grey, at.to(self.device))
        return grey.unsqueeze(1).expand(-1, 3, -1, -1)

    def _grey(self, at: NDArray[np.int64]) -> Tensor:
        """Normalised grey values float32 [n, h, w], on the CPU."""
        codes = np.array(self.patches.classes)[self.patches.labels[at]]
        grey = normalise(self.patches.pixels[at], codes, self.patches.statistics, self.mode)
        return torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32))

    @cached_property
    def _resident(self) -> Tensor | None:
        if not fits(self.patches.pixels.size * torch.float32.itemsize, self.device):
            return None
        chunks = np.array_split(np.arange(len(self.patches.ids)), max(len(self.patches.ids) // CHUNK, 1))
        return torch.cat([self._grey(chunk).to(self.device) for chunk in chunks])

    def rows(self, split: Split) -> list[int]:
        """Positions of a split's samples, ascending."""
        return [int(i) for i in np.flatnonzero(self.patches.splits == split)]

    def digest(self) -> str:
        """SHA-256 of all that decides the pixels shown: grey values, mode, statistics, labels if used, variants."""
        labels = self.patches.labels.tolist() if self.mode == "per_class" else None
        statistics = [(row.label, row.mean, row.std) for row in self.patches.statistics]
        grey = bytes_digest(part.tobytes() for part in self.patches.pixels)
        shown = [] if self.variants is None else [self.variants.digest()]
        return digest(self.patches.digest, list(self.patches.pixels.shape), grey, self.mode, statistics, labels, *shown)


def fits(size: int, device: torch.device) -> bool:
    """Whether the device is a GPU and `size` bytes are less than half of its free memory."""
    return device.type == "cuda" and size < torch.cuda.mem_get_info(device)[0] / 2


def cached(features: Tensor, device: torch.device) -> Source:
    """Rows of stored features float32 [samples, ...]; a GPU keeps all of them in its memory if they fit."""
    features = features.to(device) if fits(features.nbytes, device) else features
    # Whole rows as they lie in memory, which is faster than picking them in another order of axes. What is one pixel
    # large lies in both ways and keeps the default's strides, by which a convolution chooses its arithmetic.
    last = (
        features.dim() == 4
        and not features.is_contiguous()
        and features.is_contiguous(memory_format=torch.channels_last)
    )
    lying = features.permute(0, 2, 3, 1) if last else features

    def source(rows: Tensor) -> Tensor:
        found = lying.index_select(0, rows.to(lying.device)).to(device)
        return found.permute(0, 3, 1, 2) if last else found

    return source


def computed(
    model: Classifier, level: Level, inputs: Inputs, augment: Callable[[Tensor], Tensor] = lambda pixels: pixels
) -> Source:
    """The frozen blocks run anew for every batch; `augment` changes its pixels [n, 1, h, w] at random."""

    @torch.no_grad()
    def source(rows: Tensor) -> Tensor:
        pixels = inputs(rows)
        return model.to_level(level, augment(pixels[:, :1]).expand_as(pixels))

    return source
