"""Patches as a network takes them: normalised, three channels, on the device."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesionlens.config import Normalise
from lesionlens.identity import bytes_digest, digest
from lesionlens.records import SampleArrays, Split
from lesionlens.samples.normalise import normalise

CHUNK = 256


class Inputs:
    """Calling it with positions gives pixels float32 [n, 3, s, s]: grey, normalised, replicated.

    On a GPU all normalised patches stay in its memory, if half of what is free takes them.
    """

    def __init__(self, patches: SampleArrays, mode: Normalise, device: torch.device) -> None:
        self.patches = patches
        self.mode = mode
        self.device = device

    def __len__(self) -> int:
        return len(self.patches.ids)

    def __call__(self, rows: Sequence[int] | Tensor) -> Tensor:
        resident = self._resident
        if resident is None:
            grey = self._grey(np.asarray(rows.cpu() if isinstance(rows, Tensor) else rows, dtype=np.int64))
        else:
            grey = resident[torch.as_tensor(rows, device=self.device)]
        return grey.to(self.device).unsqueeze(1).expand(-1, 3, -1, -1).contiguous()

    def _grey(self, at: NDArray[np.int64]) -> Tensor:
        """Normalised grey values float32 [n, s, s], on the CPU."""
        codes = np.array(self.patches.classes)[self.patches.labels[at]]
        grey = normalise(self.patches.pixels[at], codes, self.patches.statistics, self.mode)
        return torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32))

    @cached_property
    def _resident(self) -> Tensor | None:
        size = self.patches.pixels.size * torch.float32.itemsize
        if self.device.type != "cuda" or size > torch.cuda.mem_get_info(self.device)[0] / 2:
            return None
        chunks = np.array_split(np.arange(len(self)), max(len(self) // CHUNK, 1))
        return torch.cat([self._grey(chunk).to(self.device) for chunk in chunks])

    def rows(self, split: Split) -> list[int]:
        """Positions of a split's patches, ascending."""
        return [int(i) for i in np.flatnonzero(self.patches.splits == split)]

    def digest(self) -> str:
        """SHA-256 of all that decides the normalised pixels: grey values, mode, statistics, and labels if used."""
        labels = self.patches.labels.tolist() if self.mode == "per_class" else None
        statistics = [(row.label, row.mean, row.std) for row in self.patches.statistics]
        grey = bytes_digest([self.patches.pixels.tobytes()])
        return digest(self.patches.digest, list(self.patches.pixels.shape), grey, self.mode, statistics, labels)
