"""What a model says of samples whose pixels were changed, normalised as the intact ones are.

Of a film with a filled lesion most of what the first blocks compute is known from the intact film. Where their output
is stored they run over a window alone: what the change reaches, and all that this depends on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from lesionlens.models.arithmetic import channels_last
from lesionlens.models.classifier import Classifier, together
from lesionlens.records import SampleArrays, Statistics
from lesionlens.training.feature_cache import Stored
from lesionlens.training.inputs import Inputs

BATCH = 32
Change = Callable[[slice], NDArray[np.uint8]]
"""A slice of the pictures wanted -> their pixels uint8 [k, s, s]; called batch by batch."""
LARGEST = 0.5
"""Proportion of a film that a window may have; beyond it the whole film is as quick."""
POINTWISE = (nn.ReLU, nn.BatchNorm2d, nn.Identity, nn.Dropout)


@dataclass(frozen=True, slots=True)
class Reach:
    """Along both axes a cell c depends on the pixels from c * stride - before to c * stride + after."""

    stride: int
    before: int
    after: int


@dataclass(frozen=True, slots=True, eq=False)
class Intact:
    """What a model's first blocks make of the intact films. rows int64 [n]: where the samples of the inputs lie in
    what is stored. views: films that lie in a sample, one above the other."""

    stored: Stored
    rows: NDArray[np.int64]
    reach: Reach
    views: int


def intact_films(model: nn.Module, stored: Stored | None, inputs: Inputs, rows: NDArray[np.int64]) -> Intact | None:
    """`Intact` of the inputs' samples; None where nothing is stored, for patches, which are mostly lesion, and where
    every cell depends on all pixels (squeeze and excitation)."""
    if stored is None or inputs.patches.breasts is None or not isinstance(model, Classifier):
        return None
    found = reach(model.between("pixels", stored.level))
    return None if found is None else Intact(stored, rows, found, model.views)


def reach(modules: tuple[nn.Module, ...]) -> Reach | None:
    """Of the cells of modules that run one after the other; None where it is not known to be bounded."""
    stride, before, after = 1, 0, 0
    for module in (leaf for each in modules for leaf in _leaves(each)):
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d)):
            size, step, pad, apart = (
                int(value if isinstance(value, int) else value[0])
                for value in (module.kernel_size, module.stride, module.padding, module.dilation)
            )
            before, after = before + pad * stride, after + ((size - 1) * apart - pad) * stride
            stride *= step
        elif not isinstance(module, POINTWISE):
            return None
    return Reach(stride, before, after)


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The modules on the way that sees farthest: of a residual block the one past its shortcut."""
    shortcut = isinstance(module, (BasicBlock, Bottleneck))
    if not shortcut and not isinstance(module, nn.Sequential):
        yield module
        return
    for name, child in module.named_children():
        if not (shortcut and name == "downsample"):
            yield from _leaves(child)


@torch.no_grad()
def altered_probabilities(
    model: nn.Module, inputs: Inputs, rows: NDArray[np.int64], change: Change, intact: Intact | None = None
) -> NDArray[np.float32]:
    """Class probabilities float32 [k, classes] of pictures made from the samples at positions `rows` [k] of the inputs.

    A sample may be wanted several times. model: in evaluation mode on the inputs' device; inputs -> logits. intact: as
    `intact_films`, by which a small change takes a part of the time; the same up to rounding.
    """
    parts, size = [], together(BATCH, inputs.patches.pixels.shape)
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        pictures = change(part)
        normalised = _normalised_as(inputs, rows[part], pictures)(range(len(pictures)))
        pixels = channels_last(normalised)
        if intact is None or not isinstance(model, Classifier):
            logits = model(pixels)
        else:
            changed = pictures != inputs.patches.pixels[rows[part]]
            each = zip(torch.split(pixels, 1), changed, intact.rows[rows[part]], strict=True)
            level = intact.stored.level
            logits = model.from_level(level, torch.cat([changed_features(model, *one, intact) for one in each]))
        parts.append(torch.softmax(logits.double(), dim=1).float().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, len(inputs.patches.classes)), dtype=np.float32)


def changed_features(model: Classifier, pixels: Tensor, changed: NDArray[np.bool_], row: int, intact: Intact) -> Tensor:
    """The stored level's values [1, c, h, w] of a film's grey pixels [1, 3, H, W], which differ from those at `row` of
    what is stored where bool [H, W] says so. Both films of a breast take the same window."""
    level, views = intact.stored.level, intact.views
    known = intact.stored.features[row : row + 1].to(pixels.device, copy=True)
    _, ys, xs = np.nonzero(changed.reshape(views, -1, pixels.shape[3]))
    if not len(ys):
        return known
    films, cells = torch.unflatten(pixels[:, :1], 2, (views, -1)), torch.unflatten(known, 2, (views, -1))
    down = _span(ys, films.shape[3], cells.shape[3], intact.reach)
    across = _span(xs, films.shape[4], cells.shape[4], intact.reach)
    window = films[..., down.pixels, across.pixels].flatten(2, 3)
    if window.numel() > LARGEST * pixels.numel():
        return model.to_level(level, pixels)
    part = model.to_level(level, window.expand(-1, pixels.shape[1], -1, -1))
    cells[..., down.cells, across.cells] = torch.unflatten(part, 2, (views, -1))[..., down.inside, across.inside]
    return cells.flatten(2, 3)


@dataclass(frozen=True, slots=True)
class _Span:
    """Along one axis: the cells that change, the pixels of a window that gives them, and where they lie in what it
    gives."""

    cells: slice
    pixels: slice
    inside: slice


def _span(changed: NDArray[np.int64], pixels: int, cells: int, reach: Reach) -> _Span:
    """changed int64: positions. The window begins at a whole cell, so that strides fall as in the film."""
    stride = reach.stride
    first = max(0, -((reach.after - int(changed.min())) // stride))
    last = min(cells - 1, (int(changed.max()) + reach.before) // stride)
    start = max(0, first - -(-reach.before // stride))
    stop = min(pixels, -(-(last * stride + reach.after + 1) // stride) * stride)
    return _Span(slice(first, last + 1), slice(start * stride, stop), slice(first - start, last + 1 - start))


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
