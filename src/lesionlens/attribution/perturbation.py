"""Attributions by `captum` from what the network says with parts of a sample removed: KernelSHAP, LIME, occlusion.

Removed pixels take the training mean, 0 in normalised inputs. One image at a time; where it is explained for several
classes, all of them share its forward passes, since what is removed does not depend on the class.
"""

from collections.abc import Callable

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import KernelShap, Lime, Occlusion
from captum.attr._core.lime import get_exp_kernel_similarity_function
from skimage.segmentation import slic
from torch import Tensor

from lesionlens.attribution.pixels import Asked, Attribute, Score, seeded

SEGMENTS, COMPACTNESS = 50, (0.1, 1.0, 10.0)
SAMPLES = 256
"""Sets of superpixels removed, of which a linear model is fitted."""
KERNEL_WIDTH, RIDGE = 0.25, 0.001
WINDOW, STRIDE = 8, 16
"""A sample's side over the occluding window's side, and over the window's step."""
TOGETHER = 64
"""Perturbed copies of one image in a forward pass."""
Removal = Callable[[Score, Tensor, Tensor], Tensor]
"""(score, image [1, 1, s, s], class [1]) -> attributions [1, 1, s, s]."""


def superpixels(image: Tensor) -> Tensor:
    """About 50 superpixels of an image [1, 1, s, s], by SLIC: int64 [1, 1, s, s] from 0. Ranges of grey do not matter:
    it is brought to [0, 1]. Where noise leaves fewer than half, they are made more compact."""
    grey = image[0, 0].detach().cpu().numpy()
    for compactness in COMPACTNESS:
        found = slic(grey, n_segments=SEGMENTS, compactness=compactness, channel_axis=None, start_label=0)
        if found.max() + 1 >= SEGMENTS / 2:
            break
    return torch.from_numpy(found.astype(np.int64))[None, None].to(image.device)


def kernel_shap(score: Score, image: Tensor, label: Tensor) -> Tensor:
    """Shapley values of superpixels by weighted regression (Lundberg and Lee 2017), painted on their pixels.

    Over superpixels they sum to the score of the image minus that of the training mean.
    """
    found: Tensor = KernelShap(score).attribute(
        image, 0.0, target=label, feature_mask=superpixels(image), n_samples=SAMPLES, perturbations_per_eval=TOGETHER
    )
    return found


def lime(score: Score, image: Tensor, label: Tensor) -> Tensor:
    """Coefficients of a ridge regression around the image (Ribeiro et al. 2016), painted on their superpixels."""
    near = get_exp_kernel_similarity_function("cosine", kernel_width=KERNEL_WIDTH)
    found: Tensor = Lime(score, interpretable_model=SkLearnRidge(alpha=RIDGE), similarity_func=near).attribute(
        image, 0.0, target=label, feature_mask=superpixels(image), n_samples=SAMPLES, perturbations_per_eval=TOGETHER
    )
    return found


def occlusion(score: Score, image: Tensor, label: Tensor) -> Tensor:
    """The mean fall of the score over all windows that cover a pixel (Zeiler and Fergus 2014)."""
    sides = image.shape[-2:]
    window, stride = ((1, *(max(1, side // part) for side in sides)) for part in (WINDOW, STRIDE))
    found: Tensor = Occlusion(score).attribute(
        image, window, stride, 0.0, target=label, perturbations_per_eval=TOGETHER
    )
    return found


def removal(attribute: Removal) -> Attribute:
    """A method of this module for many images, each seeded by its grey values."""

    def attributed(score: Score, asked: Asked) -> Tensor:
        known: dict[bytes, _Remembered] = {}
        parts = []
        for image, label in zip(asked.grey.detach()[:, None], asked.classes[:, None], strict=True):
            said = known.setdefault(image.cpu().numpy().tobytes(), _Remembered(score))
            said.passes = 0
            with seeded(image), torch.no_grad():
                parts.append(attribute(said, image, label))
        return torch.cat(parts)

    return attributed


class _Remembered:
    """Scores of one image's perturbed copies: the passes of a second class give what those of the first gave."""

    def __init__(self, score: Score) -> None:
        self.score, self.passes = score, 0
        self.said: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        if self.passes == len(self.said):
            self.said.append(self.score(images))
        self.passes += 1
        return self.said[self.passes - 1]
