"""Sweep: what a classifier of patches says of every place of a film, its windows slid over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lesionlens.config.training import Normalise
from lesionlens.models.classifier import Classifier, together
from lesionlens.records import SampleArrays, Statistics
from lesionlens.samples.normalise import normalise

BATCH = 64
STEP, CELLS = 3, 6
"""Windows, and cells of the map, along a side of a window: every place lies in about nine windows."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchRun:
    """A trained classifier of square patches cut at the scale of films.

    normalise, statistics: of its own samples; lesion: ordinals of its classes with lesions, not all of them; size: of
    a patch in pixels of a film; films: that lie in a sample, one above the other.
    """

    model: Classifier
    normalise: Normalise
    statistics: tuple[Statistics, ...]
    lesion: tuple[int, ...]
    size: int
    films: int = 1


def sweep(run: PatchRun, films: SampleArrays, rows: Sequence[int], device: torch.device) -> NDArray[np.float32]:
    """Maps float32 [n, rows, cols] in [0, 1] of films at these positions: the mean probability of a lesion in the
    windows that hold a cell's centre.

    Windows lie within the film, as the patches did, a third of their side apart; cells tile the film, six to that side.
    A window without any breast is not looked at, and a cell off the breast is 0. Batches are bounded in memory.
    """
    assert films.breasts is not None, "films have a breast"
    run.model.to(device).eval()
    found = []
    for row in rows:
        halves = (np.split(whole, run.films) for whole in (films.pixels[row], films.breasts[row]))
        found.append(np.concatenate([_swept(run, grey, breast, device) for grey, breast in zip(*halves, strict=True)]))
    return np.stack(found) if found else np.zeros((0, 1, 1), dtype=np.float32)


def _swept(
    run: PatchRun, grey: NDArray[np.uint8], breast: NDArray[np.bool_], device: torch.device
) -> NDArray[np.float32]:
    """The map of one film."""
    size, scale = run.size, len(grey) // len(breast)
    (top, down), (left, across) = (_places(side, size) for side in grey.shape)
    held = [(at[:, None] >= begin) & (at[:, None] < begin + size) for at, begin in ((down, top), (across, left))]
    above, beside = (each.astype(np.float64) for each in held)
    windows = sliding_window_view(grey, (size, size))[np.ix_(top, left)]
    shown = sliding_window_view(breast, (size // scale, size // scale))
    looked = shown[np.ix_(top // scale, left // scale)].any(axis=(2, 3))
    said, at, most = np.zeros(looked.shape), np.argwhere(looked), together(BATCH, (size, size))
    for part in (at[start : start + most] for start in range(0, len(at), most)):
        said[part[:, 0], part[:, 1]] = _lesion(run, windows[part[:, 0], part[:, 1]], device)
    many = above @ looked @ beside.T
    mean = np.divide(above @ said @ beside.T, many, out=np.zeros(many.shape), where=many > 0)
    return np.where(breast[np.ix_(down // scale, across // scale)], mean, 0).astype(np.float32)


def _places(side: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Along a side: where windows begin, and the centres of cells that tile it; int64, ascending."""
    windows = np.linspace(0, side - size, 1 + ceil(STEP * (side - size) / size)).round().astype(np.int64)
    cells = round(CELLS * side / size)
    return windows, np.floor((np.arange(cells) + 0.5) * side / cells).astype(np.int64)


@torch.no_grad()
def _lesion(run: PatchRun, windows: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    """The probability of a lesion, float32 [k], in windows uint8 [k, size, size]."""
    # the statistics of a window's own class would need its label
    mode: Normalise = "train" if run.normalise == "per_class" else run.normalise
    grey = torch.from_numpy(normalise(windows, np.zeros(len(windows), dtype=np.str_), run.statistics, mode))
    logits = run.model.logits(grey.to(device).unsqueeze(1).expand(-1, 3, -1, -1))
    said: NDArray[np.float32] = (
        torch.softmax(logits.double(), dim=1)[:, list(run.lesion)].sum(dim=1).float().cpu().numpy()
    )
    return said
