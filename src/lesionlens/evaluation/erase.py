"""Erase test: does the decision need the lesion, or would losing as much background do the same?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from polars import DataType

from lesionlens.audits.occlusion import control_region, inpainted
from lesionlens.localization.samples import scorable
from lesionlens.models.backbones import Classifier
from lesionlens.records import SampleArrays, Statistics
from lesionlens.scoring.bootstrap import Clusters
from lesionlens.scoring.means import Mean, lesion_groups, means
from lesionlens.scoring.run_scores import RUN_SCORES, score_key
from lesionlens.training.inputs import Inputs

OCCLUSIONS: dict[str, DataType | type[DataType]] = {
    "sample_id": pl.Int64,
    "probability": pl.Float64,
    "lesion_erased": pl.Float64,
    "control_erased": pl.Float64,
    "reason": pl.String,
}
BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class Occlusions:
    """Probability of the predicted class, float64 [n] over all samples: of the whole patch, with the lesion inpainted,
    with as much background inpainted. NaN where there is no lesion; control NaN too where there is no room for it."""

    whole: NDArray[np.float64]
    lesion: NDArray[np.float64]
    control: NDArray[np.float64]

    def frame(self, patches: SampleArrays) -> pl.DataFrame:
        """One row per sample with a mask (OCCLUSIONS); reason 'no_room' where control_erased is null."""
        tested = ~np.isnan(self.lesion)
        room = ~np.isnan(self.control[tested])
        columns = {
            "sample_id": patches.ids[tested],
            "probability": self.whole[tested],
            "lesion_erased": self.lesion[tested],
            "control_erased": self.control[tested],
            "reason": [None if there else "no_room" for there in room],
        }
        return pl.DataFrame(columns, schema=OCCLUSIONS).with_columns(pl.col("control_erased").fill_nan(None))


def occlusion_test(
    model: Classifier, inputs: Inputs, whole: NDArray[np.float32], generator: np.random.Generator
) -> Occlusions:
    """Erase every lesion of the inputs' patches, and then a region of the lesion's own shape elsewhere in the patch.

    whole float32 [n, classes]: the model's probabilities for the patches as they are. The control region lies at a
    place drawn by `generator`, at least 2 pixels off the lesion and in tissue; a lesion with no such place has none.
    Whatever the normalisation, erasing changes the erased pixels alone.
    """
    patches = inputs.patches
    rows = np.flatnonzero(scorable(patches))
    lesions = patches.masks[rows]
    found = [control_region(*at, generator) for at in zip(lesions, patches.pixels[rows], strict=True)]
    room = np.array([region is not None for region in found], dtype=np.bool_)
    controls = [region for region in found if region is not None]
    at = np.arange(len(rows))
    predicted = whole.argmax(axis=1)[rows]
    before, after, moved = (np.full(len(patches.ids), np.nan) for _ in range(3))
    before[rows] = whole[rows, predicted]
    after[rows] = _erased(model, inputs, rows, lesions)[at, predicted]
    if controls:
        moved[rows[room]] = _erased(model, inputs, rows[room], np.stack(controls))[at[: len(controls)], predicted[room]]
    return Occlusions(before, after, moved)


def occlusion_scores(
    patches: SampleArrays, correct: NDArray[np.bool_], occlusions: Occlusions, clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """erase_lesion_drop, erase_control_drop (what the predicted class loses, -1 to 1) and erase_difference (what the
    lesion takes more than the control, in the same patch), as rows of RUN_SCORES.

    Means over the lesions with room for a control, the same for all three; correctly classified and all; by group.
    """
    room = ~np.isnan(occlusions.control)
    values = {
        "erase_lesion_drop": occlusions.whole - occlusions.lesion,
        "erase_control_drop": occlusions.whole - occlusions.control,
        "erase_difference": occlusions.control - occlusions.lesion,
    }
    wanted = [
        Mean(score_key(name, population=population, group=group), value, room & chosen & used)
        for name, value in values.items()
        for population, chosen in {"correct_lesions": correct, "lesions": np.ones_like(correct)}.items()
        for group, used in lesion_groups(patches, scorable(patches)).items()
    ]
    return means(wanted, clusters, confidence, shares=False).frame(RUN_SCORES)


def _erased(
    model: Classifier, inputs: Inputs, rows: NDArray[np.int64], regions: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Probabilities [k, classes] of the patches at positions `rows` [k] with regions bool [k, s, s] inpainted."""
    pixels = inputs.patches.pixels.copy()
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        pixels[part] = inpainted(pixels[part], regions[start : start + BATCH])
    return probabilities(model, _normalised_as(inputs, pixels), rows)


def _normalised_as(inputs: Inputs, pixels: NDArray[np.uint8]) -> Inputs:
    """Inputs of other pixels uint8 [n, s, s], normalised as the inputs' own are.

    Under 'per_patch' each patch is made a class of its own that has the intact patch's statistics. A bright lesion has
    a large share in these: taken anew from what is left, they would change every other pixel, too.
    """
    patches = replace(inputs.patches, pixels=pixels)
    if inputs.mode != "per_patch":
        return Inputs(patches, inputs.mode, inputs.device)
    own = tuple(str(position) for position in range(len(pixels)))
    intact = ((name, grey / 255) for name, grey in zip(own, inputs.patches.pixels, strict=True))
    statistics = tuple(Statistics(name, float(grey.mean()), float(grey.std())) for name, grey in intact)
    apart = replace(patches, classes=own, labels=np.arange(len(own)), statistics=statistics)
    return Inputs(apart, "per_class", inputs.device)


@torch.no_grad()
def probabilities(model: Classifier, inputs: Inputs, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Class probabilities float32 [n, classes] of the patches at positions `rows`."""
    model = model.to(inputs.device).eval()
    parts = [
        torch.softmax(model(inputs([int(row) for row in rows[start : start + BATCH]])), dim=1).cpu().numpy()
        for start in range(0, len(rows), BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, model.head.out_features), dtype=np.float32)
