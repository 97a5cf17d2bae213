"""Attributions of the input's pixels by `captum`, pooled to cells: what the class's score owes to each place.

A sample's three channels are one grey value copied, and it is that value which is explained: captum sees a network of
one channel. Maps of single pixels are speckle, and IoU or hit would measure speckle: means over 28 x 28 cells are kept,
as fine as the maps of the finest last block at 448 pixels.
"""

import contextlib
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from lesionlens.attribution.cam import Maps
from lesionlens.config.evaluation import Explains
from lesionlens.models.classifier import together

CELLS = 28
STEPS = 32
"""Points on the straight way from the baseline, at which integrated gradients are read."""
DRAWS = 16
"""Noisy copies for SmoothGrad."""
POINTS = 32
"""For GradientSHAP, of which each reference has as many; spread evenly they say as much as 50 at random."""
SMOOTH, SHAP = 0.1, 0.05
"""Standard deviation of the noise of SmoothGrad and GradientSHAP, in ranges of the sample's values."""
Score = Callable[[Tensor], Tensor]
"""Grey values [n, 1, s, s] -> scores [n, classes]."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """grey [n, 1, s, s], classes int64 [n] on its device; references [classes, k, 1, s, s]: normalised training samples
    of other classes than each, None for the training mean alone, which is 0."""

    grey: Tensor
    classes: Tensor
    references: Tensor | None = None


Attribute = Callable[[Score, Asked], Tensor]
"""Attributions [n, 1, s, s] of what is asked."""


def saliency(score: Score, asked: Asked) -> Tensor:
    """The gradient (Simonyan et al. 2013), signed."""
    found: Tensor = Saliency(score).attribute(asked.grey, target=asked.classes, abs=False)
    return found


def integrated_gradients(score: Score, asked: Asked) -> Tensor:
    """Gradients integrated from the training mean (Sundararajan et al. 2017).

    They sum to the score of the input minus that of the baseline.
    """
    method, size = IntegratedGradients(score), max(len(asked.grey), together(STEPS, asked.grey.shape))
    found: Tensor = method.attribute(asked.grey, 0.0, target=asked.classes, n_steps=STEPS, internal_batch_size=size)
    return found


def smooth_grad(score: Score, image: Tensor, label: Tensor, _references: Tensor) -> Tensor:
    """The mean gradient of noisy copies (Smilkov et al. 2017), of one image."""
    noisy = {"nt_type": "smoothgrad", "nt_samples": DRAWS, "stdevs": spread(image) * SMOOTH}
    noisy["nt_samples_batch_size"] = together(DRAWS, image.shape)
    found: Tensor = NoiseTunnel(Saliency(score)).attribute(image, target=label, abs=False, **noisy)
    return found


def gradient_shap(score: Score, image: Tensor, label: Tensor, references: Tensor) -> Tensor:
    """Gradient times difference, at points between noisy copies and training samples of other classes (Lundberg and Lee
    2017), of one image.

    In expectation they sum to the score of the input minus the mean score of the references. captum draws all at
    random; here each reference has as many points, they are evenly spaced on the way from it, from a random start, and
    noise comes with both signs, which changes no expectation.
    """
    others, noise = len(references), spread(image) * SHAP
    each = max(POINTS // others, 1)
    starts = (torch.randperm(others, device=image.device) + torch.rand(others, device=image.device)) / others
    way = ((torch.arange(each, device=image.device)[:, None] + starts) / each).view(-1, 1, 1, 1)
    signed = torch.randn(math.ceil(len(way) / 2), *image.shape[1:], device=image.device)
    copies = image.detach() + noise * torch.cat([signed, -signed])[: len(way)]
    beginnings = references.repeat(each, 1, 1, 1)
    parts = torch.split(beginnings + way * (copies - beginnings), together(POINTS, image.shape))
    gradients = [Saliency(score).attribute(part.requires_grad_(), target=int(label), abs=False) for part in parts]
    return (torch.cat(gradients) * (copies - beginnings)).mean(dim=0, keepdim=True)


def spread(image: Tensor) -> float:
    """The range of an image's values."""
    return float((image.max() - image.min()).detach())


def one_by_one(attribute: Callable[[Score, Tensor, Tensor, Tensor], Tensor]) -> Attribute:
    """A method that draws: every image alone, by generators seeded from its grey values, so that neither the batch nor
    the order of samples changes a map.

    attribute: (score, image [1, 1, s, s], its class [1], references [k, 1, s, s]) -> attributions [1, 1, s, s].
    """

    def attributed(score: Score, asked: Asked) -> Tensor:
        parts = []
        for image, label in zip(asked.grey[:, None], asked.classes[:, None], strict=True):
            nothing = torch.zeros_like(image)
            references = nothing if asked.references is None else asked.references[int(label)]
            with seeded(image):
                parts.append(attribute(score, image, label, references))
        return torch.cat(parts)

    return attributed


@contextlib.contextmanager
def seeded(image: Tensor) -> Iterator[None]:
    """torch's and numpy's global generators, from which captum draws, seeded by an image and restored at the end."""
    seed, before = zlib.crc32(image.detach().cpu().numpy().tobytes()), np.random.get_state()
    with torch.random.fork_rng(devices=[image.device] if image.is_cuda else []):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)


def pixels(attribute: Attribute, unsigned: bool = False) -> Maps:
    """Maps float32 [n, 28, 28] by a method of this module; the layer is ignored, the model is left as it was.

    inputs: channels that are copies of one grey value. unsigned: the sign of the attribution says brighter or darker,
    not for or against the class; its magnitude is kept.
    """

    def maps(
        model: nn.Module,
        inputs: Tensor,
        classes: NDArray[np.int64],
        _layer: nn.Module,
        explains: Explains = "logit",
        references: Tensor | None = None,
    ) -> NDArray[np.float32]:
        def score(grey: Tensor) -> Tensor:
            return _score(model(copied(grey, inputs.shape[1])), explains)

        grey = grey_of(inputs)
        found = attribute(score, Asked(grey, torch.from_numpy(classes).to(inputs.device), references))
        return _cells(found, unsigned)

    return maps


def grey_of(inputs: Tensor) -> Tensor:
    """The one grey value [n, 1, s, s] of channels that are copies of it, which asks for gradients."""
    return inputs[:, :1].detach().clone().requires_grad_()


def copied(grey: Tensor, channels: int) -> Tensor:
    """The network's inputs [n, channels, s, s]."""
    return grey.expand(-1, channels, -1, -1)


def saliency_of_pass(grey: Tensor, logits: Tensor, classes: Tensor, explains: Explains) -> NDArray[np.float32]:
    """Maps float32 [n, 28, 28] of `saliency` without a pass of its own: of the pass that made logits [n, classes] of
    grey values [n, 1, s, s], whose graph is used up."""
    return _cells(saliency(lambda _grey: _score(logits, explains), Asked(grey, classes)), unsigned=True)


def _score(logits: Tensor, explains: Explains) -> Tensor:
    return logits - logits.mean(dim=1, keepdim=True) if explains == "contrast" else logits


def _cells(found: Tensor, unsigned: bool) -> NDArray[np.float32]:
    """Attributions [n, 1, s, s], or their magnitudes, as means over cells [n, 28, 28]."""
    found = found.detach()
    pooled = adaptive_avg_pool2d(found.abs() if unsigned else found, CELLS)[:, 0]
    cells: NDArray[np.float32] = pooled.float().cpu().numpy()
    return cells
