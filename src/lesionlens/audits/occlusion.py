"""Occlusion test: what a model says with the lesion filled in, and with as much tissue beside it filled in instead."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from lesionlens.audits.altered import Intact, altered_probabilities
from lesionlens.frames import FRAMES
from lesionlens.localization.samples import scorable
from lesionlens.records import SampleArrays
from lesionlens.samples.filling import Fill, control_regions, enlarged, filled, grown_hulls, reduced
from lesionlens.scoring.bootstrap import Clusters
from lesionlens.scoring.means import Mean, lesion_populations, means
from lesionlens.training.inputs import Inputs

Variant = Literal["smooth", "texture", "wide"]
VARIANTS: dict[Variant, tuple[Fill, float]] = {
    "smooth": ("smooth", 0.1),
    "texture": ("texture", 0.1),
    "wide": ("smooth", 0.3),
}
"""Fill, and margin in diameters of the annotation's hull. The first one has control places; spicules reach beyond
annotations, so the last takes a wider margin."""
PLACES, PICTURES = 16, 200


def places_wanted(lesions: int) -> int:
    """Control places per lesion: 16, fewer among many lesions, where the mean over lesions is sharp with one.

    >>> [places_wanted(lesions) for lesions in (1, 40, 1000)]
    [16, 5, 1]
    """
    return max(1, min(PLACES, PICTURES // max(lesions, 1)))


def lesion_regions(samples: SampleArrays, margin: float) -> NDArray[np.bool_]:
    """`grown_hulls` of the samples' annotations, of their masks' shape; empty where there is nothing to score.

    Lesions of a film may lie far apart: each has a hull of its own.
    """
    rows, regions = np.flatnonzero(scorable(samples)), np.zeros_like(samples.masks)
    if samples.breasts is None:
        regions[rows] = grown_hulls(samples.masks[rows], margin)
        return regions
    for row in rows:
        apart, count = ndimage.label(samples.masks[row])
        regions[row] = grown_hulls(np.stack([apart == n for n in range(1, count + 1)]), margin).any(axis=0)
    return regions


@dataclass(frozen=True, slots=True, eq=False)
class Occlusions:
    """One variant of the test, over all n samples; NaN where there is no lesion, or no fair control.

    lesion, control float32 [n, classes]: probabilities with the lesion filled in, and with a control place filled in,
    mean over the places. places int64 [n]: their number. lesion_change, control_change float64 [n]: mean absolute
    change of the sample's grey values, 0 to 1.
    """

    variant: Variant
    lesion: NDArray[np.float32]
    control: NDArray[np.float32]
    places: NDArray[np.int64]
    lesion_change: NDArray[np.float64]
    control_change: NDArray[np.float64]

    def frame(self, samples: SampleArrays) -> pl.DataFrame:
        """One row per sample with a mask. Reason where there are no control probabilities: 'no_fair_control', or
        'lesion_only' for variants without controls."""
        tested = np.flatnonzero(~np.isnan(self.lesion[:, 0]))
        missing = np.isnan(self.control[tested, 0])
        why = "no_fair_control" if self.variant == "smooth" else "lesion_only"
        columns = {
            "sample_id": samples.ids[tested],
            "variant": [self.variant] * len(tested),
            "lesion_probabilities": self.lesion[tested].tolist(),
            "control_probabilities": [
                None if gone else row for gone, row in zip(missing, self.control[tested].tolist(), strict=True)
            ],
            "places": self.places[tested],
            "lesion_change": self.lesion_change[tested],
            "control_change": self.control_change[tested],
            "reason": [why if gone else None for gone in missing],
        }
        return pl.DataFrame(columns, schema=FRAMES["occlusions"]).fill_nan(None)


def occlusion_test(
    model: nn.Module,
    inputs: Inputs,
    regions: NDArray[np.bool_],
    generator: np.random.Generator,
    variant: Variant = "smooth",
    intact: Intact | None = None,
) -> Occlusions:
    """Fill in every lesion of the inputs' samples. All classes are kept.

    regions bool, of the masks' shape: `lesion_regions` at the variant's margin; samples where it is empty take no part.
    Under 'smooth' also up to `places_wanted` fair control places of the same sample (`control_regions`), drawn by the
    generator. Whatever the normalisation, only the filled pixels change. model: in evaluation mode on the inputs'
    device. intact: as `altered_probabilities`.
    """
    samples, (fill, _) = inputs.patches, VARIANTS[variant]
    rows = np.flatnonzero(regions.any(axis=(1, 2)))
    count, classes = len(samples.ids), len(samples.classes)
    found = Occlusions(
        variant,
        np.full((count, classes), np.nan, dtype=np.float32),
        np.full((count, classes), np.nan, dtype=np.float32),
        np.zeros(count, dtype=np.int64),
        np.full(count, np.nan),
        np.full(count, np.nan),
    )
    regions = regions[rows]
    found.lesion[rows], found.lesion_change[rows] = _occluded(model, inputs, rows, regions, fill, generator, intact)
    if variant != "smooth" or not len(rows):
        return found
    wanted = places_wanted(len(rows))
    controls = [
        control_regions(
            region,
            reduced(samples.pixels[row], samples.scale),
            wanted,
            generator,
            None if samples.breasts is None else samples.breasts[row],
        )
        for region, row in zip(regions, rows, strict=True)
    ]
    found.places[rows] = [len(places) for places in controls]
    at = np.repeat(np.arange(len(rows)), found.places[rows])
    beside, change = _occluded(model, inputs, rows[at], np.concatenate(controls), fill, generator, intact)
    for n in np.unique(at):
        found.control[rows[n]], found.control_change[rows[n]] = beside[at == n].mean(axis=0), change[at == n].mean()
    return found


def _occluded(
    model: nn.Module,
    inputs: Inputs,
    rows: NDArray[np.int64],
    regions: NDArray[np.bool_],
    fill: Fill,
    generator: np.random.Generator,
    intact: Intact | None,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Probabilities [k, classes] of the samples at positions `rows` [k] with regions bool [k, ...] filled in, and the
    mean absolute change of their grey values [k], 0 to 1."""
    changes = np.zeros(len(rows))

    def change(part: slice) -> NDArray[np.uint8]:
        intact = inputs.patches.pixels[rows[part]]
        pictures = filled(intact, enlarged(regions[part], inputs.patches.scale), fill, generator)
        changes[part] = np.abs(pictures.astype(np.int16) - intact).mean(axis=(1, 2)) / 255
        return pictures

    return altered_probabilities(model, inputs, rows, change, intact), changes


def occlusion_scores(
    samples: SampleArrays,
    whole: NDArray[np.float32],
    occlusions: Occlusions,
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """occlusion_lesion_drop, occlusion_control_drop: the predicted class's loss of probability, -1 to 1; and
    occlusion_difference, the first minus the second of the same sample. Frame: run_scores.

    whole float32 [n, classes]: probabilities of the intact samples. Means over the lesions with a fair control, the
    same for all three, by `lesion_populations`.
    """
    predicted, at = whole.argmax(axis=1), np.arange(len(whole))
    intact, lesion, control = (
        each[at, predicted].astype(np.float64) for each in (whole, occlusions.lesion, occlusions.control)
    )
    populations = lesion_populations(samples, predicted == samples.labels)
    values = {
        "occlusion_lesion_drop": intact - lesion,
        "occlusion_control_drop": intact - control,
        "occlusion_difference": control - lesion,
    }
    wanted = [
        Mean({"name": name} | where, value, ~np.isnan(control) & chosen)
        for name, value in values.items()
        for where, chosen in populations
    ]
    return means(wanted, clusters, confidence, binary=False).frame(FRAMES["run_scores"])
