"""Patches as a network takes them: normalised, three channels, on the device."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lesionlens.config import Normalise
from lesionlens.data.normalise import normalise
from lesionlens.identity import bytes_digest, digest
from lesionlens.records import Part, PatchArrays


class Inputs:
    """Calling it with positions gives pixels float32 [n, 3, s, s]: grey, normalised, replicated."""

    def __init__(self, patches: PatchArrays, mode: Normalise, device: torch.device) -> None:
        self.patches = patches
        self.mode = mode
        self.device = device

    def __len__(self) -> int:
        return len(self.patches.ids)

    def __call__(self, rows: Sequence[int]) -> Tensor:
        at = np.asarray(rows, dtype=np.int64)
        codes = np.array(self.patches.classes)[self.patches.labels[at]]
        grey = normalise(self.patches.pixels[at], codes, self.patches.statistics, self.mode)
        pixels = torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32))
        return pixels.to(self.device).unsqueeze(1).expand(-1, 3, -1, -1).contiguous()

    def rows(self, part: Part) -> list[int]:
        """Positions of a part's patches, ascending."""
        return [int(i) for i in np.flatnonzero(self.patches.parts == part)]

    def digest(self) -> str:
        """SHA-256 of all that decides the normalised pixels: grey values, mode, statistics, and labels if used."""
        labels = self.patches.labels.tolist() if self.mode == "per_class" else None
        statistics = [(row.label, row.mean, row.std) for row in self.patches.statistics]
        grey = bytes_digest([self.patches.pixels.tobytes()])
        return digest(self.patches.digest, list(self.patches.pixels.shape), grey, self.mode, statistics, labels)
