"""Windows of classes without lesions: from which images, how many, of which sizes, for which split."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionlens.config import StudyConfig
from lesionlens.identity import generator
from lesionlens.processes import Processes
from lesionlens.records import Box, DatasetIndex, Exclusion, Image, ImageSize, Label, Overview, Sample, Split
from lesionlens.samples.cutting import BackgroundJob, cut_background
from lesionlens.samples.splits import Member

log = logging.getLogger(__name__)

Item = Sample | Exclusion | ImageSize | Overview

OVERVIEWS = 2  # images of each split and class that are also kept small and whole
SPARE = 2  # sizes drawn per window wanted, as one may fit nowhere


class BackgroundPlan:
    """Images for the windows of a class without lesions in a seeded order, and the counts wanted."""

    def __init__(self, index: DatasetIndex, label: Label, images: Sequence[Image], study: StudyConfig) -> None:
        self.study = study
        self.label = label
        order = generator(study.seed, "background order").permutation(len(images))
        self.images = [images[place] for place in order]
        self.masks: dict[str, list[str]] = defaultdict(list)
        for lesion in index.lesions:
            if lesion.mask_path is not None:
                self.masks[lesion.image_key].append(lesion.mask_path)

    def members(self) -> list[Member]:
        """The images, for the split."""
        code, group = self.label.code, self.label.group
        return [Member(_member_key(i), i.patient, code, group, i.official_split) for i in self.images]

    def of_split(self, splits: dict[str, Split | None], split: Split) -> list[Image]:
        """Images of a split. Where patches, not patients, are split, validation has none of its own."""
        found = [(i, splits[_member_key(i)]) for i in self.images]
        if self.study.split.group == "patch":
            found = [(i, "train" if p == "validation" else p) for i, p in found]
        return [i for i, p in found if p == split]

    def expected(self, splits: dict[str, Split | None]) -> int:
        """About how many images will be decoded."""
        config, test = self.study.background, len(self.of_split(splits, "test"))
        rest = len(self.of_split(splits, "train")) + len(self.of_split(splits, "validation"))
        wanted = ceil(config.train / config.per_image), ceil(config.test / config.per_image)
        return min(rest, wanted[0]) + min(test, wanted[1])

    def job(self, root: Path, image: Image, sizes: Sequence[tuple[int, int]], overview: bool) -> BackgroundJob:
        config = self.study.background
        count = SPARE * config.per_image
        if config.size == "matched":
            picks = generator(self.study.seed, "background sizes", image.key).integers(len(sizes), size=count)
            drawn = tuple(sizes[pick] for pick in picks)
        else:
            drawn = ((config.size, config.size),) * count
        masks = tuple(self.masks[image.key])
        size, seed = self.study.patches.size, self.study.seed
        return BackgroundJob(root, image, masks, drawn, config.per_image, config.min_mean, size, seed, overview)


def background_samples(
    plan: BackgroundPlan,
    splits: dict[str, Split | None],
    root: Path,
    sizes: Sequence[tuple[int, int]],
    processes: Processes,
) -> Iterator[list[Item]]:
    """Background patches image by image: validation, training, test.

    `sizes`: (width, height) of the training lesions' windows, needed for size "matched". Where fewer windows than
    wanted are found, every image of the split has a `background_short` note, and a warning is logged.
    """
    config, split = plan.study.background, plan.study.split
    if config.size == "matched" and not sizes:
        raise ValueError("background.size is matched, but no training lesion gave a window: name a size in pixels")
    got = 0
    if split.group == "patient":
        wanted = round(split.validation * config.train)
        for items in _split(plan, "validation", plan.of_split(splits, "validation"), wanted, root, sizes, processes):
            got += sum(isinstance(item, Sample) for item in items)
            yield items
    wanted = config.train - got
    slots = _validation_slots(plan.study, wanted) if split.group == "patch" else frozenset()
    taken = 0
    for items in _split(plan, "train", plan.of_split(splits, "train"), wanted, root, sizes, processes):
        placed: list[Item] = []
        for item in items:
            if isinstance(item, Sample):
                item = _in_split(item, "validation") if taken in slots else item
                taken += 1
            placed.append(item)
        yield placed
    yield from _split(plan, "test", plan.of_split(splits, "test"), config.test, root, sizes, processes)


def _split(
    plan: BackgroundPlan,
    split: Split,
    images: Sequence[Image],
    wanted: int,
    root: Path,
    sizes: Sequence[tuple[int, int]],
    processes: Processes,
) -> Iterator[list[Item]]:
    """Patches of one split until there are enough; then notes on what is short."""
    got = 0
    given: list[tuple[Image, int]] = []
    jobs = (plan.job(root, image, sizes, n < OVERVIEWS) for n, image in enumerate(images))
    results = processes.map(cut_background, jobs)
    for image, result in zip(images if wanted > 0 else (), results, strict=False):
        if isinstance(result, Exclusion):
            yield [result]
            continue
        given.append((image, len(result.windows)))
        used = result.windows[: wanted - got]
        got += len(used)
        items: list[Item] = [result.size, *(_patch(plan, image, split, window, pixels) for window, pixels in used)]
        yield [*items, result.overview] if result.overview is not None else items
        if got == wanted:
            return
    if got < wanted:
        code = plan.label.code
        log.warning(
            "Class %s, split %s: %d windows of %d wanted, from %d images", code, split, got, wanted, len(images)
        )
        most = plan.study.background.per_image
        detail = f"{code}, split {split} has {got} of {wanted} wanted; this image gave {{}} of {most}"
        yield [Exclusion(image.key, None, "background_short", detail.format(n)) for image, n in given]


def _patch(plan: BackgroundPlan, image: Image, split: Split, window: Box, pixels: NDArray[np.uint8]) -> Sample:
    return Sample(
        key=f"{image.key}@{window.x0},{window.y0},{window.x1},{window.y1}",
        label=plan.label.code,
        image_key=image.key,
        lesion_key=None,
        patient=image.patient,
        split=split,
        window=window,
        lesion_box=None,
        mask_fraction=None,
        pixels=pixels,
        mask=None,
    )


def _in_split(patch: Sample, split: Split) -> Sample:
    return Sample(
        patch.key, patch.label, patch.image_key, patch.lesion_key, patch.patient, split, patch.window,
        patch.lesion_box, patch.mask_fraction, patch.pixels, patch.mask,
    )  # fmt: skip


def _validation_slots(study: StudyConfig, wanted: int) -> frozenset[int]:
    """Which of the training windows, by order of appearance, are validation."""
    order = generator(study.seed, "validation background").permutation(wanted)
    return frozenset(int(slot) for slot in order[: round(study.split.validation * wanted)])


def _member_key(image: Image) -> str:
    return f"background of {image.key}"
