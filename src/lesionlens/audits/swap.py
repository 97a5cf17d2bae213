"""Swap test: the annotated region of one sample in another patient's surroundings; which of the two decides?"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from lesionlens.audits.altered import Intact, altered_probabilities
from lesionlens.frames import FRAMES
from lesionlens.records import SampleArrays
from lesionlens.samples.filling import enlarged, inpainted, pasted
from lesionlens.training.inputs import Inputs

CANDIDATES = 8  # drawn donors, of which the one with the most similar size is taken
MANY = 100
"""Lesions of both sides beyond which each is given one donor instead of two."""


@dataclass(frozen=True, slots=True, eq=False)
class Swaps:
    """k pictures: positions of the sample that gave the surroundings and of the one that gave the lesion, int64 [k];
    probabilities float32 [k, classes]."""

    surroundings: NDArray[np.int64]
    donors: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def frame(self, samples: SampleArrays) -> pl.DataFrame:
        """One row per picture: sample_id (surroundings), donor_id (lesion), probabilities."""
        columns = {
            "sample_id": samples.ids[self.surroundings],
            "donor_id": samples.ids[self.donors],
            "probabilities": self.probabilities.tolist(),
        }
        return pl.DataFrame(columns, schema=FRAMES["swaps"])


def swap_test(
    model: nn.Module,
    inputs: Inputs,
    regions: NDArray[np.bool_],
    sides: NDArray[np.int64],
    generator: np.random.Generator,
    intact: Intact | None = None,
) -> Swaps:
    """Every lesion's surroundings with two other patients' lesions: one of the same side, one of another.

    Among many lesions (more than 100) with one of them, the same side and another in turn within each side.

    regions bool, of the masks' shape: `lesion_regions` of the inputs' samples. sides int64 [n]: of each sample, for
    example 1 malignant, 0 benign; -1 takes no part. So the side of the lesion tells nothing of that of the
    surroundings, and AUCs by the one and by the other say what decides. The surroundings' own lesion is filled in
    first; the pasted region comes to lie where that was. model: in evaluation mode on the inputs' device. intact: as
    `altered_probabilities`.
    """
    samples = inputs.patches
    rows = np.flatnonzero(regions.any(axis=(1, 2)) & (sides >= 0))
    surroundings, donors = swap_pairs(samples.patients, sides, regions, rows, generator)

    def change(part: slice) -> NDArray[np.uint8]:
        places, given = surroundings[part], donors[part]
        here, there = (enlarged(regions[at], samples.scale) for at in (places, given))
        filled = inpainted(samples.pixels[places], here)
        pairs = zip(filled, here, samples.pixels[given], there, strict=True)
        return np.stack([pasted(*pair) for pair in pairs])

    return Swaps(surroundings, donors, altered_probabilities(model, inputs, surroundings, change, intact))


def swap_pairs(
    patients: NDArray[np.str_],
    sides: NDArray[np.int64],
    regions: NDArray[np.bool_],
    rows: NDArray[np.int64],
    generator: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of surroundings and of donors, int64 [k]: each of `rows` with a donor of its side and one of another;
    with one of the two, in turn within its side, where there are more than 100 rows.

    Donors are of other patients; of eight drawn the one whose region is most similar in size. A sample that lacks
    one of the two donors takes no part, so both sides of lesions stay equally frequent in both sides of surroundings.
    """
    sizes = np.log(np.maximum(regions[rows].sum(axis=(1, 2)), 1))
    surroundings, donors = [], []
    turns = dict.fromkeys(np.unique(sides[rows]).tolist(), 0)
    for row, size in zip(rows, sizes, strict=True):
        others = patients[rows] != patients[row]
        found = []
        for eligible in (others & (sides[rows] == sides[row]), others & (sides[rows] != sides[row])):
            candidates = generator.permutation(np.flatnonzero(eligible))[:CANDIDATES]
            if len(candidates):
                found.append(rows[candidates[np.argmin(np.abs(sizes[candidates] - size))]])
        if len(found) == 2:
            side = int(sides[row])
            taken = found if len(rows) <= MANY else [found[turns[side] % 2]]
            turns[side] += 1
            surroundings += [row] * len(taken)
            donors += taken
    return np.array(surroundings, dtype=np.int64), np.array(donors, dtype=np.int64)
