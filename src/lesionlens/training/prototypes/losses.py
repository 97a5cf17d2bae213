"""Losses of a prototype network, per sample, so that no weight depends on the size of a batch (Barnett et al. 2021).

    L = cross-entropy + cluster clst - separation sep + fine 224/s (||S_other|| + ||S_own m||) + 1e-4 sum |W_other|

clst, sep: least mean of the k smallest distances over the sample's own class's prototypes, and over all others. S:
similarities brought to s x s pixels, ||.|| the norm over prototypes and pixels together, m = 1 outside the annotation.
Published is a sum over a batch of 85 at s = 224 with weight 0.001: 0.085 per sample. Prototypes of other classes have
one norm here, where the code behind the paper takes one for the classes before the own and one for those behind it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import interpolate

from lesionlens.config.training import PrototypeConfig
from lesionlens.models.prototypes import nearest, similarity
from lesionlens.records import SampleArrays

OTHER_WEIGHTS = 1e-4
PUBLISHED_SIDE = 224
INNER, OUTER = 0.15, 0.25  # depth of the margin band inside and outside the outline, in equivalent radii


def added(
    distances: Tensor, labels: Tensor, owners: Tensor, kept: Tensor, shown: Tensor, config: PrototypeConfig
) -> Tensor:
    """What is added to each sample's cross-entropy, but for the weights' term: float32 [n].

    distances [n, prototypes, h, w]; labels int64 [n]; owners int64 and kept bool [prototypes]; shown bool [n, s, s]:
    the annotation, empty where a sample has none: the fine term of such a sample is 0.
    """
    least = nearest(distances, config.topk, largest=False).mean(dim=2)
    own = (labels[:, None] == owners) & kept
    other = (labels[:, None] != owners) & kept
    far = torch.finfo(least.dtype).max
    cluster = least.masked_fill(~own, far).min(dim=1).values
    separation = least.masked_fill(~other, far).min(dim=1).values
    found = config.cluster * cluster - config.separation * separation
    if config.fine and config.annotation != "none":
        found = found + config.fine * fine(similarity(distances), own, other, shown)
    return found


def fine(similarities: Tensor, own: Tensor, other: Tensor, shown: Tensor) -> Tensor:
    """The fine-annotation term of each sample at the published side, float32 [n]: 0 without an annotation.

    similarities [n, prototypes, h, w]; own, other bool [n, prototypes]; shown bool [n, s, s].
    """
    side = shown.shape[1]
    large = interpolate(similarities, size=(side, side), mode="bilinear", align_corners=False)
    outside = ~shown[:, None]
    elsewhere = torch.linalg.vector_norm((large * other[:, :, None, None]).flatten(1), dim=1)
    astray = torch.linalg.vector_norm((large * own[:, :, None, None] * outside).flatten(1), dim=1)
    term: Tensor = (elsewhere + astray) * shown.flatten(1).any(dim=1) * PUBLISHED_SIDE / side
    return term


def other_weights(weight: Tensor, owners: Tensor) -> Tensor:
    """The term that keeps weights of other classes' prototypes small: a scalar. weight [classes, prototypes]."""
    other = owners[None, :] != torch.arange(len(weight), device=weight.device)[:, None]
    return OTHER_WEIGHTS * (weight * other).abs().sum()


def annotations(samples: SampleArrays, config: PrototypeConfig) -> NDArray[np.bool_]:
    """What the fine term is shown of every sample, bool [n, s, s]: the lesion, the band around its outline, or nothing.

    The band is geometry, nobody's marking: it reaches from 0.85 to 1.25 of the radius of the disc of the lesion's area.
    """
    if config.annotation == "none":
        return np.zeros_like(samples.masks)
    if config.annotation == "lesion":
        return samples.masks
    return np.array([band(mask) for mask in samples.masks]).reshape(samples.masks.shape)


def band(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The margin of a mask bool [s, s]; empty where the mask is."""
    if not mask.any():
        return np.zeros_like(mask)
    radius = np.sqrt(mask.sum() / np.pi)
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    found: NDArray[np.bool_] = np.where(mask, inside <= INNER * radius, outside <= OUTER * radius)
    return found
