"""Localisers that look at no image: what any score must be held against (protocol section 8)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesionlens.localization.curves import CURVE, tuned
from lesionlens.localization.metrics import iou_curve

Baseline = Literal["whole_patch", "centred_disc", "mean_mask"]
BASELINES: tuple[Baseline, ...] = ("whole_patch", "centred_disc", "mean_mask")


def baseline_maps(train_masks: NDArray[np.bool_], size: int) -> dict[Baseline, tuple[NDArray[np.float32], float]]:
    """A map float32 [size, size] in [0, 1] and the threshold that makes it a region, for every baseline.

    train_masks bool [n, size, size]: the masks of the training split's lesions; empty ones do not count.
    whole_patch: 1 everywhere. centred_disc: the disc around the centre with the area of the mean training lesion.
    mean_mask: the mean of the training masks, min-max scaled, cut at that level of 0.05..0.95 which has the highest
    mean IoU with the training masks themselves. Raises ValueError where there is no training lesion.
    """
    masks = train_masks[train_masks.any(axis=(1, 2))]
    if not len(masks):
        raise ValueError("baselines: the training split has no lesion with a mask; check the sample set's split")
    mean = mean_map(masks)
    curves = np.concatenate(
        [iou_curve(np.broadcast_to(mean, part.shape), part) for part in np.array_split(masks, 1 + len(masks) // 64)]
    )
    return {
        "whole_patch": (np.ones((size, size), dtype=np.float32), 0.5),
        "centred_disc": (disc(size, float(masks.sum(axis=(1, 2)).mean())).astype(np.float32), 0.5),
        "mean_mask": (mean, tuned(curves) or float(CURVE[9])),
    }


def disc(size: int, area: float) -> NDArray[np.bool_]:
    """A disc of `area` pixels around the centre of a square of side `size`: bool [size, size].

    Its pixels are those nearest to the centre, as many as `area` rounded, so the area holds at any size; at least one.
    """
    axis = np.arange(size) - (size - 1) / 2
    distance = (axis[:, None] ** 2 + axis[None, :] ** 2).ravel()
    nearest = np.argsort(distance, kind="stable")[: max(1, min(size * size, round(area)))]
    region = np.zeros(size * size, dtype=np.bool_)
    region[nearest] = True
    return region.reshape(size, size)


def mean_map(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mean of masks bool [n, s, s], min-max scaled to float32 [s, s] in [0, 1]; ones where it is constant."""
    mean = masks.mean(axis=0, dtype=np.float64)
    low, high = mean.min(), mean.max()
    if high <= low:
        return np.ones(mean.shape, dtype=np.float32)
    scaled: NDArray[np.float32] = ((mean - low) / (high - low)).astype(np.float32)
    return scaled
