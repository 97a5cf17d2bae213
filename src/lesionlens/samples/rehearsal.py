"""A data set looked through as a study would: what it holds, what is left out and why, and some samples to look at."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from lesionlens.config.study import StudyConfig
from lesionlens.records import SPLITS, DatasetIndex, Exclusion, LeakCheck, Sample
from lesionlens.samples.filling import enlarged
from lesionlens.samples.films.merging import sampled
from lesionlens.samples.sample_set import build_samples
from lesionlens.samples.splits import SplitCheck

SHOWN = 10
SIDE, CAPTION, COLUMNS = 200, 30, 5  # pixels of a picture and of the lines below it; pictures in a row
OUTLINE = (255, 176, 0)
SIZES = range(64, 225, 32)
"""Patch sizes that `size_for` chooses from: 64 pixels give ResNet maps of 2 x 2 cells, 224 of 7 x 7."""
SMALL = 400
"""Lesions below which a study is better off with light networks and a short grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """What a data set would give a study.

    counts: samples by (split, class code). windows float64 [n]: longer side of every lesion's window in pixels of its
    image. fault: why a study would be refused, None where it would not.
    """

    index: DatasetIndex
    counts: Counter[tuple[str, str]]
    exclusions: tuple[Exclusion, ...]
    leaks: tuple[LeakCheck, ...]
    windows: NDArray[np.float64]
    shown: tuple[Sample, ...]
    seconds: float
    fault: str | None

    def of_split(self, split: str) -> int:
        """How many samples a split has."""
        return sum(count for (name, _), count in self.counts.items() if name == split)


def rehearse(
    index: DatasetIndex, root: Path, study: StudyConfig, report: Callable[[int, int], None] = lambda done, total: None
) -> Rehearsal:
    """Open every image and annotation and cut every sample, as `build_samples` does, and keep ten."""
    named = sampled(index, study)
    started, check = time.monotonic(), SplitCheck(named)
    exclusions, windows = list(named.exclusions), []
    kept: dict[str, list[Sample]] = {label.code: [] for label in named.labels}
    for item in build_samples(index, root, study, report):
        check.add(item)
        if isinstance(item, Exclusion):
            exclusions.append(item)
        elif isinstance(item, Sample):
            if item.lesion_key is not None:
                windows.append(max(item.window.width, item.window.height))
            if len(kept[item.label]) < SHOWN:
                kept[item.label].append(item)
    try:
        check.require_samples()
        fault = None
    except ValueError as error:
        fault = str(error)
    counts = Counter({(str(split), code): n for (split, code), n in check.counts.items()})
    return Rehearsal(
        named, counts, tuple(dict.fromkeys(exclusions)), check.leaks(), np.array(windows, dtype=np.float64),
        _some_of_each(list(kept.values())), time.monotonic() - started, fault,
    )  # fmt: skip


def _some_of_each(classes: list[list[Sample]]) -> tuple[Sample, ...]:
    """Ten samples, class after class in turn."""
    rounds = max(map(len, classes), default=0)
    return tuple([samples[i] for i in range(rounds) for samples in classes if i < len(samples)][:SHOWN])


def size_for(windows: NDArray[np.float64]) -> int:
    """The patch size of SIZES nearest to the median window, so that most lesions are neither blown up nor shrunk.

    windows float64 [n]: longer sides in pixels. ValueError for none.
    """
    if not len(windows):
        raise ValueError("no lesion yields a sample, so no patch size follows from them")
    median = float(np.median(windows))
    return min(SIZES, key=lambda size: abs(size - median))


def contact_sheet(samples: Sequence[Sample], names: dict[str, str]) -> Image.Image:
    """Pictures of samples side by side, annotations outlined; names: by class code."""
    rows = -(-len(samples) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, max(rows, 1) * (SIDE + CAPTION)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, sample in enumerate(samples):
        x, y = place % COLUMNS * SIDE, place // COLUMNS * (SIDE + CAPTION)
        picture = Image.fromarray(_outlined(sample))
        scale = (SIDE - 4) / max(picture.size)
        sheet.paste(picture.resize((round(picture.width * scale), round(picture.height * scale))), (x + 2, y + 2))
        pen.text((x + 3, y + SIDE), f"{names[sample.label]}, {sample.split}"[:34], "black", font)
        pen.text((x + 3, y + SIDE + 13), sample.image_key[-34:], "dimgray", font)
    return sheet


def _outlined(sample: Sample) -> NDArray[np.uint8]:
    picture = np.repeat(sample.pixels[:, :, None], 3, axis=2)
    if sample.mask is not None:
        scale = len(sample.pixels) // len(sample.mask)
        edge = sample.mask & ~binary_erosion(sample.mask, border_value=1)
        picture[enlarged(edge, scale)] = OUTLINE
    return picture


def split_table(rehearsal: Rehearsal) -> list[tuple[str, ...]]:
    """(class, train, validation, test) of every class, with a heading and sums."""
    rows = [
        (label.name, *(str(rehearsal.counts[split, label.code]) for split in SPLITS))
        for label in rehearsal.index.labels
    ]
    return [("class", *SPLITS), *rows, ("all", *(str(rehearsal.of_split(split)) for split in SPLITS))]
