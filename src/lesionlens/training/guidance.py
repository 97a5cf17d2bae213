"""Guidance: a term of the loss that asks for the class's evidence to lie on the annotation.

The loss of a sample that shows its annotation becomes cross-entropy + weight (1 - evidence on the annotation). Ross et
al. 2017 penalise input gradients off an annotation, Barnett et al. 2021 (the fine-annotation loss) a prototype's
activation there; Rao et al. 2023 compare such terms and find energy on the annotation the best. Theirs are ratios of
sums over a rectified map. With few classes a rectified map goes blank unpunished, and the gradient of a ratio grows
without bound as the map shrinks; a softmax over cells does neither.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from lesionlens.config.training import GuidanceConfig
from lesionlens.identity import generator
from lesionlens.records import SampleArrays
from lesionlens.training.augment import Variants


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """weight: of the term in the loss. masks bool [n, s, s], on the device: the annotation shown, empty where none;
    moved along with the samples' variants, if any.
    """

    weight: float
    masks: Tensor
    variants: Variants | None = None

    def term(self, head: Tensor, features: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        """What guidance adds to each sample's loss, float32 [k], for the samples at positions `rows` [k]."""
        shown = self.masks[rows] if self.variants is None else self.variants.masks(self.masks, rows)
        shares = adaptive_avg_pool2d(shown.float(), (features.shape[2], features.shape[3]))
        there = shown.flatten(1).any(dim=1)
        return self.weight * there * (1 - evidence_within(head, features, labels, shares))


def evidence_within(head: Tensor, features: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    """Proportion of the evidence for each sample's class that lies on its annotation: float32 [n] in [0, 1].

    head [classes, c]: weights of the linear layer; features [n, c, h, w]: output of the last block; labels int64 [n];
    shares [n, h, w] in [0, 1]: how much of each cell is annotated. Evidence is the softmax over cells of
    d = (w_y - mean of w) . A, in logits: what all classes' weights have in common decides nothing and is left out.
    """
    contrast = head[labels] - head.mean(dim=0)
    cells = torch.einsum("nc,nchw->nhw", contrast, features.float()).flatten(1)
    return (torch.softmax(cells, dim=1) * shares.flatten(1)).sum(dim=1)


def guide(
    samples: SampleArrays,
    guidance: GuidanceConfig,
    seed: int,
    device: torch.device,
    variants: Variants | None = None,
) -> Guide | None:
    """What guidance of this run shows; None without guidance."""
    if not guidance.weight:
        return None
    masks = np.zeros_like(samples.masks)
    reach = guidance.dilation * samples.masks.shape[1]
    for row in np.flatnonzero(shown(samples, guidance.fraction, seed)):
        mask = samples.masks[row]
        masks[row] = distance_transform_edt(~mask) <= reach if reach else mask
    moved = None if variants is None else variants.to(device)
    return Guide(guidance.weight, torch.from_numpy(masks).to(device), moved)


def shown(samples: SampleArrays, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which samples show their annotation, bool [n]: the first `fraction` of those that have one, at least one, in
    training and in validation, in an order drawn by the seed, so that a smaller fraction's are among a larger one's.
    """
    found = np.zeros(len(samples.ids), dtype=np.bool_)
    annotated = samples.has_mask & samples.masks.any(axis=(1, 2))
    for split in ("train", "validation"):
        rows = np.flatnonzero(annotated & (samples.splits == split))
        order = generator(seed, "guidance", split).permutation(rows)
        found[order[: int(np.ceil(fraction * len(order)))]] = True
    return found
