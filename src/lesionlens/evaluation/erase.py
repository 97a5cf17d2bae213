"""Erase test: does the decision need the lesion, or would losing as much background do the same?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from polars import DataType

from lesionlens.config import EvaluationConfig
from lesionlens.evaluation.bootstrap import draw, interval, ratios
from lesionlens.evaluation.explanations import scorable
from lesionlens.evaluation.inpaint import control_region, inpainted
from lesionlens.training.backbones import Classifier
from lesionlens.training.inputs import Inputs

ERASURES: dict[str, DataType | type[DataType]] = {
    "patch_id": pl.Int64,
    "label": pl.Int16,
    "probability": pl.Float64,
    "lesion_erased": pl.Float64,
    "control_erased": pl.Float64,
    "difference": pl.Float64,
    "reason": pl.String,
}
BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class EraseTest:
    """samples: one row per patch; drop_lesion, drop_control, difference: (mean, low, high), NaN without samples."""

    samples: pl.DataFrame
    drop_lesion: tuple[float, float, float]
    drop_control: tuple[float, float, float]
    difference: tuple[float, float, float]
    n: int


def erase_test(model: Classifier, inputs: Inputs, evaluation: EvaluationConfig, seed: int) -> EraseTest:
    """Probability of the predicted class before and after the lesion, or as much background, is inpainted.

    Over the test part's patches that have a mask. samples: patch_id, label (the class predicted for the whole patch),
    probability, lesion_erased, control_erased (its probability then), difference (what erasing the lesion takes more
    than erasing the control), reason 'no_room' where no background of the lesion's shape is left: control and
    difference are null then, and the row is not in the means. Means have patient-clustered intervals.
    """
    patches = inputs.patches
    rows = np.flatnonzero(scorable(patches) & (patches.parts == "test"))
    generator = np.random.default_rng(seed)
    lesions = patches.masks[rows]
    found = [control_region(mask, generator) for mask in lesions]
    room = np.array([region is not None for region in found], dtype=np.bool_)
    controls = np.zeros_like(lesions)
    for control, region in zip(controls, found, strict=True):
        if region is not None:
            control[:] = region
    before = probabilities(model, inputs, rows)
    predicted = before.argmax(axis=1)
    at = np.arange(len(rows))
    whole = before[at, predicted].astype(np.float64)
    without = probabilities(model, _with(inputs, rows, lesions), rows)[at, predicted].astype(np.float64)
    moved = probabilities(model, _with(inputs, rows, controls), rows)[at, predicted].astype(np.float64)
    frame = pl.DataFrame(
        {
            "patch_id": patches.ids[rows],
            "label": predicted,
            "probability": whole,
            "lesion_erased": without,
            "control_erased": np.where(room, moved, np.nan),
            "difference": np.where(room, moved - without, np.nan),
            "reason": [None if there else "no_room" for there in room],
        },
        schema=ERASURES,
    ).with_columns(pl.col("control_erased", "difference").fill_nan(None))
    drops = np.stack([whole - without, whole - moved, moved - without], axis=1)
    means = _means(drops[room], patches.patients[rows][room], evaluation, seed)
    return EraseTest(frame, means[0], means[1], means[2], int(room.sum()))


def _with(inputs: Inputs, rows: NDArray[np.int64], regions: NDArray[np.bool_]) -> Inputs:
    pixels = inputs.patches.pixels.copy()
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        pixels[part] = inpainted(pixels[part], regions[start : start + BATCH])
    return Inputs(replace(inputs.patches, pixels=pixels), inputs.mode, inputs.device)


@torch.no_grad()
def probabilities(model: Classifier, inputs: Inputs, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Class probabilities float32 [n, classes] of the patches at positions `rows`."""
    model = model.to(inputs.device).eval()
    parts = [
        torch.softmax(model(inputs([int(row) for row in rows[start : start + BATCH]])), dim=1).cpu().numpy()
        for start in range(0, len(rows), BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, model.head.out_features), dtype=np.float32)


def _means(
    values: NDArray[np.float64], patients: NDArray[np.str_], evaluation: EvaluationConfig, seed: int
) -> list[tuple[float, float, float]]:
    if not len(values):
        return [(float("nan"), float("nan"), float("nan"))] * values.shape[1]
    clusters = draw(patients, evaluation.resamples, np.random.default_rng(seed))
    resampled = ratios(values, np.ones(values.shape, dtype=np.bool_), clusters)
    low, high = interval(resampled, evaluation.confidence)
    return [(float(m), float(a), float(b)) for m, a, b in zip(values.mean(axis=0), low, high, strict=True)]
