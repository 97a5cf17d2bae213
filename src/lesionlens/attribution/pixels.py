"""Attributions of the input's pixels by `captum`, pooled to cells: what the class's score owes to each place.

A sample's three channels are one grey value copied, so its attribution is the signed sum over channels. Maps of single
pixels are speckle, and IoU or hit would measure speckle: means over 28 x 28 cells are kept, as fine as the maps of the
finest last block at 448 pixels.
"""

from collections.abc import Callable

import numpy as np
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from lesionlens.attribution.cam import Maps
from lesionlens.config.evaluation import Explains

CELLS = 28
STEPS = 32
"""Points on the straight way from the baseline, at which integrated gradients are read."""
DRAWS, NOISE = 16, 0.1
"""Of SmoothGrad: noisy copies, and their standard deviation in ranges of the sample's values (Smilkov et al. 2017)."""
Attribute = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]
"""(inputs -> scores [n, classes], inputs [n, 3, s, s], classes int64 [n]) -> attributions [n, 3, s, s]."""


def saliency(score: Callable[[Tensor], Tensor], inputs: Tensor, classes: Tensor) -> Tensor:
    """The gradient (Simonyan et al. 2013), signed."""
    found: Tensor = Saliency(score).attribute(inputs, target=classes, abs=False)
    return found


def smooth_grad(score: Callable[[Tensor], Tensor], inputs: Tensor, classes: Tensor) -> Tensor:
    """The mean gradient of noisy copies. A sample's noise is the same in every batch: each is explained alone."""
    tunnel, parts = NoiseTunnel(Saliency(score)), []
    for image, label in zip(inputs, classes, strict=True):
        with torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
            torch.manual_seed(0)
            spread = float((image.max() - image.min()).detach()) * NOISE
            noisy = {"nt_type": "smoothgrad", "nt_samples": DRAWS, "stdevs": spread}
            parts.append(tunnel.attribute(image[None], target=label[None], abs=False, **noisy))
    return torch.cat(parts)


def integrated_gradients(score: Callable[[Tensor], Tensor], inputs: Tensor, classes: Tensor) -> Tensor:
    """Gradients integrated from the training mean, which is 0 in normalised inputs (Sundararajan et al. 2017).

    They sum to the score of the input minus that of the baseline.
    """
    method, size = IntegratedGradients(score), len(inputs)
    found: Tensor = method.attribute(inputs, 0.0, target=classes, n_steps=STEPS, internal_batch_size=size)
    return found


def pixels(attribute: Attribute, unsigned: bool = False) -> Maps:
    """Maps float32 [n, 28, 28] by a method of this module; the layer is ignored, the model's gradients are cleared.

    unsigned: the sign of the attribution says brighter or darker, not for or against the class; its magnitude is kept.
    """

    def maps(
        model: nn.Module, inputs: Tensor, classes: NDArray[np.int64], _layer: nn.Module, explains: Explains = "logit"
    ) -> NDArray[np.float32]:
        def score(images: Tensor) -> Tensor:
            logits: Tensor = model(images)
            return logits - logits.mean(dim=1, keepdim=True) if explains == "contrast" else logits

        images = inputs.detach().clone().requires_grad_()
        found = attribute(score, images, torch.from_numpy(classes).to(inputs.device)).detach().sum(dim=1)
        model.zero_grad(set_to_none=True)
        pooled: NDArray[np.float32] = adaptive_avg_pool2d(found.abs() if unsigned else found, CELLS).cpu().numpy()
        return pooled

    return maps
