"""Samples of classes without lesions: from which images, how many, of which sizes, for which split."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import ceil
from pathlib import Path

from lesionlens.config.study import StudyConfig
from lesionlens.identity import generator
from lesionlens.processes import Processes
from lesionlens.records import DatasetIndex, Exclusion, Image, Label, Lesion, Sample, Split
from lesionlens.samples.cutting import BackgroundJob, Item, cut_background
from lesionlens.samples.splits import Member

log = logging.getLogger(__name__)

SIZES_PER_WINDOW = 2  # sizes drawn for every window wanted, as one may fit nowhere
OVERVIEWS = 2  # of each split and class


@dataclass(frozen=True, slots=True)
class BackgroundPlan:
    """The images of a class without lesions in a seeded order, and their annotated lesions by image key."""

    label: Label
    images: tuple[Image, ...]
    lesions: dict[str, list[Lesion]]
    study: StudyConfig

    def members(self) -> list[Member]:
        """The images, for the split."""
        code, group = self.label.code, self.label.group
        return [Member(_member_key(i), i.patient, code, group, i.official_split) for i in self.images]

    def of_split(self, splits: dict[str, Split | None], split: Split) -> list[Image]:
        """Images of a split. Where patches, not patients, are split, validation has none of its own."""
        found = [(i, splits[_member_key(i)]) for i in self.images]
        if self.study.split.group == "patch":
            found = [(i, "train" if s == "validation" else s) for i, s in found]
        return [i for i, s in found if s == split]

    def expected(self, splits: dict[str, Split | None]) -> int:
        """About how many images will be decoded."""
        config, test = self.study.background, len(self.of_split(splits, "test"))
        rest = len(self.of_split(splits, "train")) + len(self.of_split(splits, "validation"))
        return min(rest, ceil(config.train / config.per_image)) + min(test, ceil(config.test / config.per_image))

    def job(
        self, root: Path, image: Image, split: Split, sizes: Sequence[tuple[int, int]], overview: bool
    ) -> BackgroundJob:
        """Sizes of windows are drawn from `sizes`, (width, height), or configured."""
        config, seed = self.study.background, self.study.seed
        size = SIZES_PER_WINDOW * config.per_image
        if config.size == "matched":
            picks = generator(seed, "background sizes", image.key).integers(len(sizes), size=size)
            drawn = tuple(sizes[pick] for pick in picks)
        else:
            drawn = ((config.size, config.size),) * size
        return BackgroundJob(
            root, image, overview, self.label.code, split, tuple(self.lesions.get(image.key, ())), drawn,
            self.study,
        )  # fmt: skip


def background_plans(index: DatasetIndex, study: StudyConfig) -> list[BackgroundPlan]:
    """One for every class without lesions."""
    lesions: dict[str, list[Lesion]] = defaultdict(list)
    for lesion in index.lesions:
        if lesion.mask_path is not None or lesion.outline is not None:
            lesions[lesion.image_key].append(lesion)
    plans = []
    for label in (label for label in index.labels if not label.is_lesion):
        images = [image for image in _usable_images(index) if image.background == label.code]
        order = generator(study.seed, "background order").permutation(len(images))
        plans.append(BackgroundPlan(label, tuple(images[place] for place in order), lesions, study))
    return plans


def _usable_images(index: DatasetIndex) -> list[Image]:
    """Images that may give background windows and whose files are all there.

    A mammogram that is in two case files is left alone: its other key may hold a lesion, or a mask of another size.
    """
    keys: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for image in index.images:
        keys[image.view_key].add(image.key)
    unfit = {lesion.image_key for lesion in index.lesions if lesion.label is not None}
    unfit |= {exclusion.image_key for exclusion in index.exclusions}
    return [i for i in index.images if i.key not in unfit and len(keys[i.view_key]) == 1]


def background_samples(
    plan: BackgroundPlan,
    splits: dict[str, Split | None],
    root: Path,
    sizes: Sequence[tuple[int, int]],
    processes: Processes,
) -> Iterator[list[Item]]:
    """Background samples image by image: validation, training, test.

    `sizes`: (width, height) of the training lesions' windows, needed for size "matched". Where fewer windows than
    wanted are found, every image of the split has a `background_short` note, and a warning is logged.
    """
    config, split = plan.study.background, plan.study.split
    if config.size == "matched" and not sizes:
        raise ValueError("background.size is matched, but no training lesion gave a window: name a size in pixels")

    def cut(split: Split, wanted: int) -> Iterator[list[Item]]:
        images = plan.of_split(splits, split) if wanted > 0 else []
        jobs = (plan.job(root, image, split, sizes, n < OVERVIEWS) for n, image in enumerate(images))
        return _up_to(wanted, plan, split, images, processes.map(cut_background, jobs))

    wanted = config.train
    if split.group == "patient":
        for items in cut("validation", round(split.validation * config.train)):
            wanted -= len(_samples(items))
            yield items
    # Where patches are split, validation takes some of the training windows, by order of appearance.
    order = generator(plan.study.seed, "validation background").permutation(wanted)
    validation = set(order[: round(split.validation * wanted)].tolist()) if split.group == "patch" else set()
    numbers = count()
    for items in cut("train", wanted):
        yield [
            replace(item, split="validation") if isinstance(item, Sample) and next(numbers) in validation else item
            for item in items
        ]
    yield from cut("test", config.test)


def _up_to(
    wanted: int, plan: BackgroundPlan, split: Split, images: Sequence[Image], results: Iterator[list[Item]]
) -> Iterator[list[Item]]:
    """What was cut from the images of a split until there are enough samples; then notes on what is short."""
    got = 0
    given: list[tuple[Image, int]] = []
    for image, items in zip(images, results, strict=False):
        if not isinstance(items[0], Exclusion):
            given.append((image, len(_samples(items))))
        taken = _samples(items)[: wanted - got]
        got += len(taken)
        yield [item for item in items if not isinstance(item, Sample) or item in taken]
        if got == wanted:
            return
    if got < wanted and images:
        code, most = plan.label.code, plan.study.background.per_image
        log.warning(
            "Class %s, split %s: %d windows of %d wanted, from %d images", code, split, got, wanted, len(images)
        )
        detail = f"{code}, split {split} has {got} of {wanted} wanted; this image gave {{}} of {most}"
        yield [Exclusion(image.key, None, "background_short", detail.format(n)) for image, n in given]


def _samples(items: Sequence[Item]) -> list[Sample]:
    return [item for item in items if isinstance(item, Sample)]


def _member_key(image: Image) -> str:
    return f"background of {image.key}"
