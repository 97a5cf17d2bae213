"""What a training step takes for a sample: its pixels, cached features, or features computed on the fly."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, RandomAffine, RandomHorizontalFlip, RandomVerticalFlip

from lesionlens.config.training import Augment, Normalise
from lesionlens.identity import bytes_digest, digest
from lesionlens.models.classifier import Classifier, Level
from lesionlens.records import SampleArrays, Split
from lesionlens.samples.normalise import normalise

CHUNK = 256
Source = Callable[[Tensor], Tensor]
"""Sample positions int64 [n] -> float32 [n, ...] on the device: pixels or features of these samples."""


class Inputs:
    """Called with positions: pixels float32 [n, 3, h, w], normalised, grey repeated in three channels, on the device.

    A GPU keeps all normalised samples in its memory if they take less than half of what is free.
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
        """Normalised grey values float32 [n, h, w], on the CPU."""
        codes = np.array(self.patches.classes)[self.patches.labels[at]]
        grey = normalise(self.patches.pixels[at], codes, self.patches.statistics, self.mode)
        return torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32))

    @cached_property
    def _resident(self) -> Tensor | None:
        if not fits(self.patches.pixels.size * torch.float32.itemsize, self.device):
            return None
        chunks = np.array_split(np.arange(len(self)), max(len(self) // CHUNK, 1))
        return torch.cat([self._grey(chunk).to(self.device) for chunk in chunks])

    def rows(self, split: Split) -> list[int]:
        """Positions of a split's samples, ascending."""
        return [int(i) for i in np.flatnonzero(self.patches.splits == split)]

    def digest(self) -> str:
        """SHA-256 of all that decides the normalised pixels: grey values, mode, statistics, and labels if used."""
        labels = self.patches.labels.tolist() if self.mode == "per_class" else None
        statistics = [(row.label, row.mean, row.std) for row in self.patches.statistics]
        grey = bytes_digest(part.tobytes() for part in self.patches.pixels)
        return digest(self.patches.digest, list(self.patches.pixels.shape), grey, self.mode, statistics, labels)


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
    """The frozen blocks run anew for every batch; `augment` changes its pixels at random."""

    @torch.no_grad()
    def source(rows: Tensor) -> Tensor:
        pixels = inputs(rows)
        return model.to_level(level, augment(pixels))

    return source


def as_mammogram(pixels: Tensor) -> Tensor:
    """Every film of [n, c, h, w] flipped both ways at random, turned by up to 25 degrees, sheared by up to 12, zoomed
    by 0.8 to 1.2, and brighter or darker by up to 20 of 255 grey values, drawn by torch's global generator.

    What comes in from outside is as dark as the film's darkest pixel; what leaves the range of a film is cut.
    """
    changed = []
    for film in pixels:
        low, high = float(film.min()), float(film.max())
        moved = RandomAffine(25, scale=(0.8, 1.2), shear=12, interpolation=InterpolationMode.BILINEAR, fill=low)
        turned = RandomVerticalFlip()(RandomHorizontalFlip()(moved(film)))
        brighter = (2 * torch.rand(1).item() - 1) * 20 / 255 * (high - low)
        changed.append((turned + brighter).clamp(low, high))
    return torch.stack(changed)


def flipped_and_turned(pixels: Tensor) -> Tensor:
    """Every sample of [n, c, s, s] in one of its eight flips and quarter turns, drawn by torch's global generator."""
    drawn = torch.randint(8, (len(pixels),)).tolist()
    turned = [
        torch.rot90(sample.flip(2) if way >= 4 else sample, way % 4, (1, 2))
        for sample, way in zip(pixels, drawn, strict=True)
    ]
    return torch.stack(turned)


AUGMENTS: dict[Augment, Callable[[Tensor], Tensor]] = {"flips": flipped_and_turned, "mammogram": as_mammogram}
"""Changes of a training step's pixels by name; what they feed is not cached."""
