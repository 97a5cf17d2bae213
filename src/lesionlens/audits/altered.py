"""What a model says of samples whose pixels were changed, normalised as the intact ones are."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lesionlens.models.classifier import together
from lesionlens.records import SampleArrays, Statistics
from lesionlens.training.inputs import Inputs

BATCH = 32
Change = Callable[[slice], NDArray[np.uint8]]
"""A slice of the pictures wanted -> their pixels uint8 [k, s, s]; called batch by batch."""


@torch.no_grad()
def altered_probabilities(
    model: nn.Module, inputs: Inputs, rows: NDArray[np.int64], change: Change
) -> NDArray[np.float32]:
    """Class probabilities float32 [k, classes] of pictures made from the samples at positions `rows` [k] of the inputs.

    A sample may be wanted several times. model: in evaluation mode on the inputs' device; inputs -> logits.
    """
    parts, size = [], together(BATCH, inputs.patches.pixels.shape)
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        pictures = _normalised_as(inputs, rows[part], change(part))
        pixels = pictures(range(len(rows[part]))).contiguous(memory_format=torch.channels_last)
        parts.append(torch.softmax(model(pixels).double(), dim=1).float().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, len(inputs.patches.classes)), dtype=np.float32)


def over_flips(model: nn.Module, inputs: Inputs, whole: NDArray[np.float32], views: int = 1) -> NDArray[np.float32]:
    """Mean class probabilities float32 [n, classes] over the flips of every sample: four of a film (Shen et al. 2019),
    the eight flips and quarter turns of a patch, which has no upright.

    whole float32 [n, classes]: those of the samples as they are. views: films that lie in a sample, one above the
    other, each of which is flipped by itself. model: as `altered_probabilities`.
    """
    pixels, rows = inputs.patches.pixels, np.arange(len(inputs.patches.ids))
    ways = [(flip, turns) for turns in ((0, 1, 2, 3) if inputs.patches.breasts is None else (0, 2)) for flip in (0, 1)]

    def flipped(part: slice, flip: int, turns: int) -> NDArray[np.uint8]:
        films = pixels[part].reshape(-1, pixels.shape[1] // views, pixels.shape[2])
        found = np.rot90(films[:, :, ::-1] if flip else films, turns, axes=(1, 2))
        return np.ascontiguousarray(found).reshape(-1, *pixels.shape[1:])

    found = whole.astype(np.float64)
    for flip, turns in ways[1:]:
        found += altered_probabilities(model, inputs, rows, partial(flipped, flip=flip, turns=turns))
    return (found / len(ways)).astype(np.float32)


def _normalised_as(inputs: Inputs, rows: NDArray[np.int64], pixels: NDArray[np.uint8]) -> Inputs:
    """Inputs of pixels uint8 [k, s, s], each normalised as the sample at its position `rows` [k] is.

    Under 'per_patch' each picture is made a class of its own that has the intact sample's statistics. A bright lesion
    weighs heavily in these: taken anew from what is left, they would change every other pixel, too.
    """
    samples = taken(inputs.patches, rows, pixels)
    if inputs.mode != "per_patch":
        return Inputs(samples, inputs.mode, inputs.device)
    own = tuple(str(position) for position in range(len(rows)))
    intact = inputs.patches.pixels[rows] / 255
    statistics = tuple(
        Statistics(name, float(grey.mean()), float(grey.std())) for name, grey in zip(own, intact, strict=True)
    )
    apart = replace(samples, classes=own, labels=np.arange(len(own)), statistics=statistics)
    return Inputs(apart, "per_class", inputs.device)


def taken(samples: SampleArrays, rows: NDArray[np.int64], pixels: NDArray[np.uint8]) -> SampleArrays:
    """The samples at positions `rows` [k], with other pixels uint8 [k, s, s]."""
    names = ("ids", "masks", "labels", "splits", "patients", "has_mask")
    return replace(samples, pixels=pixels, **{name: getattr(samples, name)[rows] for name in names})
