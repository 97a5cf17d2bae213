"""Occlusion test: what a prediction loses with the lesion inpainted, and with a control region inpainted instead."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from lesionlens.frames import FRAMES
from lesionlens.localization.samples import scorable
from lesionlens.models.classifier import Classifier
from lesionlens.records import SampleArrays, Statistics
from lesionlens.scoring.bootstrap import Clusters
from lesionlens.scoring.means import Mean, lesion_populations, means
from lesionlens.training.inputs import Inputs


def inpainted(pixels: NDArray[np.uint8], regions: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Samples whose regions are filled smoothly from what surrounds them; all other pixels stay as they are.

    pixels uint8 [n, s, s]; regions bool [n, s, s] -> uint8 [n, s, s]. Push-pull interpolation (Gortler et al. 1996):
    means of the known pixels at ever coarser scales, each level filling the gaps of the finer one. A region that is
    the whole sample becomes mid grey.
    """
    known = torch.from_numpy(~regions).float()[:, None]
    values = torch.from_numpy(pixels).float()[:, None]
    filled = _push_pull(values * known, known)[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()
    return np.where(regions, filled, pixels)


def _push_pull(weighted: Tensor, weight: Tensor) -> Tensor:
    """Values [n, 1, h, w] from values times weight and weight in [0, 1]; gaps taken from the next coarser level."""
    rows, columns = weight.shape[2:]
    own = weighted / weight.clamp(min=1e-6)
    if rows == 1 and columns == 1:
        return torch.where(weight > 0, own, torch.full_like(own, 127.5))
    even = (0, columns % 2, 0, rows % 2)
    coarse = _push_pull(avg_pool2d(pad(weighted, even), 2), avg_pool2d(pad(weight, even), 2))
    size = (rows + rows % 2, columns + columns % 2)
    pulled = interpolate(coarse, size=size, mode="bilinear")[:, :, :rows, :columns]
    trust = (4 * weight).clamp(max=1)  # one known pixel of four is as good as all of them
    return trust * own + (1 - trust) * pulled


def control_region(
    mask: NDArray[np.bool_], pixels: NDArray[np.uint8], generator: np.random.Generator, margin: int = 2
) -> NDArray[np.bool_] | None:
    """The mask's own shape at a random place of the sample, in tissue and at least `margin` pixels off the mask.

    mask bool [s, s], not empty; pixels uint8 [s, s]. In tissue: at least half as bright on average as the sample is
    outside the mask. Filling in the air beside a breast removes nothing, and any lesion would seem necessary beside it.
    None where there is no such place: the lesion is too large for its sample, or only air lies beside it.
    """
    rows, columns = np.nonzero(mask)
    shape = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = shape.shape
    grown = _grown(mask, margin)
    off = _sums_under(shape, grown) < 0.5
    least = pixels[~mask].mean() / 2 * shape.sum() if off.any() else 0.0
    places = np.argwhere(off & (_sums_under(shape, pixels) >= least - 0.5))
    if not len(places):
        return None
    row, column = places[generator.integers(len(places))]
    region = np.zeros_like(mask)
    region[row : row + height, column : column + width] = shape
    return region


def _sums_under(shape: NDArray[np.bool_], values: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.float64]:
    """Sums of values [s, s] under the shape bool [h, w] put at every place: [s - h + 1, s - w + 1], by FFT."""
    size, (height, width) = len(values), shape.shape
    padded = np.zeros((2 * size, 2 * size))
    padded[:size, :size] = values
    spectrum = np.fft.rfft2(padded) * np.conj(np.fft.rfft2(shape.astype(np.float64), padded.shape))
    sums: NDArray[np.float64] = np.fft.irfft2(spectrum, padded.shape)[: size - height + 1, : size - width + 1]
    return sums


def _grown(mask: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    grown = torch.nn.functional.max_pool2d(torch.from_numpy(mask)[None, None].float(), 2 * margin + 1, 1, margin)
    result: NDArray[np.bool_] = grown[0, 0].numpy() > 0
    return result


BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class Occlusions:
    """Probability of the predicted class, float64 [n] over all samples: of the whole sample, with the lesion inpainted,
    with the control region inpainted. NaN where there is no lesion; control also where there is no room for one."""

    whole: NDArray[np.float64]
    lesion: NDArray[np.float64]
    control: NDArray[np.float64]

    def frame(self, samples: SampleArrays) -> pl.DataFrame:
        """One row per sample with a mask; reason 'no_room' where control_occluded is null."""
        tested = ~np.isnan(self.lesion)
        columns = {
            "sample_id": samples.ids[tested],
            "probability": self.whole[tested],
            "lesion_occluded": self.lesion[tested],
            "control_occluded": self.control[tested],
            "reason": ["no_room" if missing else None for missing in np.isnan(self.control[tested])],
        }
        return pl.DataFrame(columns, schema=FRAMES["occlusions"]).fill_nan(None)


def occlusion_test(
    model: Classifier, inputs: Inputs, whole: NDArray[np.float32], generator: np.random.Generator
) -> Occlusions:
    """Inpaint every lesion of the inputs' samples, and then a region of the lesion's own shape elsewhere in the sample.

    whole float32 [n, classes]: the model's probabilities for the samples as they are. The control region lies at a
    place drawn by `generator`, at least 2 pixels off the lesion and in tissue; a lesion with no such place has none.
    Whatever the normalisation, only the inpainted pixels change.
    """
    samples = inputs.patches
    rows = np.flatnonzero(scorable(samples))
    lesions = samples.masks[rows]
    regions = [control_region(*at, generator) for at in zip(lesions, samples.pixels[rows], strict=True)]
    room = np.array([region is not None for region in regions], dtype=np.bool_)
    controls = [region for region in regions if region is not None]
    predicted = whole.argmax(axis=1)[rows]
    before, without, beside = (np.full(len(samples.ids), np.nan) for _ in range(3))
    before[rows] = whole[rows, predicted]
    without[rows] = _occluded(model, inputs, rows, lesions)[np.arange(len(rows)), predicted]
    if controls:
        at = np.arange(len(controls))
        beside[rows[room]] = _occluded(model, inputs, rows[room], np.stack(controls))[at, predicted[room]]
    return Occlusions(before, without, beside)


def occlusion_scores(
    samples: SampleArrays, correct: NDArray[np.bool_], occlusions: Occlusions, clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """occlusion_lesion_drop, occlusion_control_drop: the predicted class's loss of probability, -1 to 1; and
    occlusion_difference, the first minus the second of the same sample. Frame: run_scores.

    Means over the lesions with room for a control, the same for all three, by `lesion_populations`.
    """
    room, populations = ~np.isnan(occlusions.control), lesion_populations(samples, correct)
    values = {
        "occlusion_lesion_drop": occlusions.whole - occlusions.lesion,
        "occlusion_control_drop": occlusions.whole - occlusions.control,
        "occlusion_difference": occlusions.control - occlusions.lesion,
    }
    wanted = [
        Mean({"name": name} | where, value, room & chosen)
        for name, value in values.items()
        for where, chosen in populations
    ]
    return means(wanted, clusters, confidence, binary=False).frame(FRAMES["run_scores"])


def _occluded(
    model: Classifier, inputs: Inputs, rows: NDArray[np.int64], regions: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Probabilities [k, classes] of the samples at positions `rows` [k] with regions bool [k, s, s] inpainted."""
    pixels = inputs.patches.pixels.copy()
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        pixels[part] = inpainted(pixels[part], regions[start : start + BATCH])
    return probabilities(model, _normalised_as(inputs, pixels), rows)


def _normalised_as(inputs: Inputs, pixels: NDArray[np.uint8]) -> Inputs:
    """Inputs of other pixels uint8 [n, s, s], normalised as the inputs' own are.

    Under 'per_patch' each sample is made a class of its own that has the intact sample's statistics. A bright lesion
    weighs heavily in these: taken anew from what is left, they would change every other pixel, too.
    """
    samples = replace(inputs.patches, pixels=pixels)
    if inputs.mode != "per_patch":
        return Inputs(samples, inputs.mode, inputs.device)
    own = tuple(str(position) for position in range(len(pixels)))
    intact = ((name, grey / 255) for name, grey in zip(own, inputs.patches.pixels, strict=True))
    statistics = tuple(Statistics(name, float(grey.mean()), float(grey.std())) for name, grey in intact)
    apart = replace(samples, classes=own, labels=np.arange(len(own)), statistics=statistics)
    return Inputs(apart, "per_class", inputs.device)


@torch.no_grad()
def probabilities(model: Classifier, inputs: Inputs, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Class probabilities float32 [n, classes] of the samples at positions `rows`."""
    model = model.to(inputs.device).eval()
    parts = [
        torch.softmax(model(inputs([int(row) for row in rows[start : start + BATCH]])), dim=1).cpu().numpy()
        for start in range(0, len(rows), BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, model.head.out_features), dtype=np.float32)
