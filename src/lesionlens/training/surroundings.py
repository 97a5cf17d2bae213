"""Augmentation by surroundings: a training lesion in the tissue of another training patient, labelled by the lesion.

What surrounds a lesion then tells nothing of its class. Pictures are pasted as in the swap test, once before training,
so that frozen features are still computed only once.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionlens.identity import generator
from lesionlens.records import SampleArrays
from lesionlens.samples.filling import grown_hulls, inpainted, pasted

PICTURES = 4
"""Pictures made of every training lesion, with surroundings of each lesion class in turn."""
CANDIDATES = 8  # drawn surroundings, of which the one whose lesion is most similar in size is taken
MARGIN = 0.1  # of a hull, in its diameters


def surroundings_pairs(samples: SampleArrays, regions: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """Positions int64 [k, 2] of lesion and surroundings: both training lesions, of different patients.

    regions bool [n, s, s]: what is pasted of each sample; empty where it takes no part. A lesion comes PICTURES times,
    in order; fewer where another patient's surroundings are lacking.
    """
    rows = np.flatnonzero((samples.splits == "train") & regions.any(axis=(1, 2)))
    classes, sizes = np.unique(samples.labels[rows]), np.log(regions[rows].sum(axis=(1, 2)))
    drawn, pairs = generator(seed, "surroundings"), []
    for row, size in zip(rows, sizes, strict=True):
        others = samples.patients[rows] != samples.patients[row]
        for picture in range(PICTURES):
            eligible = others & (samples.labels[rows] == classes[picture % len(classes)])
            candidates = drawn.permutation(np.flatnonzero(eligible))[:CANDIDATES]
            if len(candidates):
                pairs.append((row, rows[candidates[np.argmin(np.abs(sizes[candidates] - size))]]))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def with_surroundings(samples: SampleArrays, seed: int) -> tuple[SampleArrays, NDArray[np.int64]]:
    """The samples, and behind them the pasted pictures; and of which sample each picture shows the lesion, int64 [k].

    A picture has the split, label and patient of its lesion, and the annotation moved with it.
    """
    masked = np.flatnonzero((samples.splits == "train") & samples.has_mask & samples.masks.any(axis=(1, 2)))
    regions = np.zeros_like(samples.masks)
    regions[masked] = grown_hulls(samples.masks[masked], MARGIN)
    pairs = surroundings_pairs(samples, regions, seed)
    pixels, masks = [samples.pixels], [samples.masks]
    for lesion, place in pairs:
        base = inpainted(samples.pixels[place : place + 1], regions[place : place + 1])[0]
        given = samples.pixels[lesion], samples.masks[lesion].astype(np.uint8)
        picture, mask = (
            pasted(ground, regions[place], shown, regions[lesion])
            for ground, shown in zip((base, np.zeros_like(base)), given, strict=True)
        )
        pixels.append(picture[None])
        masks.append(mask[None] > 0)
    names = ("ids", "labels", "splits", "patients", "has_mask")
    more: dict[str, Any] = {
        name: np.concatenate([getattr(samples, name), getattr(samples, name)[pairs[:, 0]]]) for name in names
    }
    return replace(samples, pixels=np.concatenate(pixels), masks=np.concatenate(masks), **more), pairs[:, 0]


def drawn_rows(rows: list[int], of: NDArray[np.int64], first: int, seed: int, epoch: int) -> list[int]:
    """What an epoch shows for every training row: the sample itself, or, every other time, one of its pictures.

    of [k]: the sample of each picture; first: position of the first picture.
    """
    draw, found = generator(seed, "surroundings", str(epoch)), []
    pictures: dict[int, list[int]] = {}
    for picture, row in enumerate(of.tolist(), start=first):
        pictures.setdefault(row, []).append(picture)
    for row in rows:
        own = pictures.get(row, [])
        found.append(own[draw.integers(len(own))] if own and draw.random() < 0.5 else row)
    return found
