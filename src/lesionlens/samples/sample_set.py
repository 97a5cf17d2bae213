"""From an index to samples: select, split, decode, cut. Streaming, in several processes, always in the same order.

Reasons of exclusions. From the tables: `no_target_class` (a finding of no class), `no_margin_class` (of another kind or
margin than `data.classes: margins` knows), `class_of_first_row` and
`overwritten` (one patch per image, the study's rule), `split_left_out` (the study's rule for the test split). From the
files: `path_refused`, `image_` or `mask_` followed by `missing`, `ambiguous`, `refused` (a link that leaves the data
folder), `unreadable`, `too_large`; `mask_shape` (another aspect ratio than its image's, or an outline that leaves it),
`empty_mask`. Notes about an image, without a lesion: `mask_resized`, `image_turned` (its file says how it is to be
shown), `same_film` and `both_splits` (a film that is two images of the data set, and one that both official splits
hold), `breast_unclear`, `same_pixels` and `same_view` (another image of the data set is the same), `background_short`,
and `background_unreadable`. Of films that are no breast's, for each of their lesions: `no_laterality`, `single_view`,
`another_of_view`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from lesionlens.config.study import StudyConfig
from lesionlens.datasets.cbis import NO_MARGIN
from lesionlens.identity import generator
from lesionlens.processes import Processes
from lesionlens.records import DatasetIndex, Exclusion, Image, ImageSize, Lesion, Sample, Split
from lesionlens.samples.background import background_plans, background_samples
from lesionlens.samples.cutting import Item, LesionJob, LesionTask, cut_lesions
from lesionlens.samples.films.building import build_films
from lesionlens.samples.films.merging import SAME_FILM, sampled
from lesionlens.samples.splits import Member, assign_splits, crossing_patients
from lesionlens.settings import settings

OVERVIEWS = 6  # of each class with lesions; a few more than a report shows, as some images may yield no sample
LEFT_OUT = "the study used no official test patch of a calcification"


@dataclass(frozen=True, slots=True)
class Choice:
    """A lesion that is to become a sample of class `label`, which may differ from the lesion's own."""

    lesion: Lesion
    image: Image
    label: str


def build_samples(
    index: DatasetIndex,
    root: Path,
    study: StudyConfig,
    report: Callable[[int, int], None] = lambda done, total: None,
    carried: Sequence[tuple[int, int]] = (),
) -> Iterator[Item]:
    """Every sample of a study, why a lesion has none, and some of the images small and whole.

    Lesion samples first, by image, then windows of the classes without lesions. Content and order depend on the
    index, `study.patches`, `study.background`, `study.split` and `study.seed` alone, not on the number of processes.
    Films come in the order of the index, whose images are then those of `sampled`.
    Every lesion of the index has either samples or one exclusion. Memory is bounded by a few full images per process.
    `report` receives (images done, images expected). carried: (width, height) of the windows of another set's training
    lesions, from which sizes of background windows are drawn, too. Where all is test
    and nothing carried, the test lesions' windows.
    """
    if study.unit != "patch":
        twins = Twins(sampled(index, study))
        for items in build_films(index, root, study, report):
            twins.add(items)
            yield from items
        yield from twins.notes()
        return
    choices, left_out = select(index, study.patches.per)
    plans = background_plans(index, study)
    members = [
        *_members(index, choices, study.patches.frame == "image"),
        *(member for plan in plans for member in plan.members()),
    ]
    splits = assign_splits(members, crossing_patients(index), study.split, study.seed)
    yield from left_out
    jobs, dropped = _lesion_jobs(choices, splits, root, study)
    yield from dropped
    total = len(jobs) + sum(plan.expected(splits) for plan in plans)
    report(0, total)
    sizes, tested = list(carried), []
    twins = Twins(index)
    with Processes(settings().workers) as processes:
        background = chain.from_iterable(background_samples(p, splits, root, sizes, processes) for p in plans)
        for done, items in enumerate(chain(processes.map(cut_lesions, jobs), background), 1):
            if done <= len(jobs):
                sizes += [_size(item) for item in items if isinstance(item, Sample) and item.split != "test"]
                tested += [_size(item) for item in items if isinstance(item, Sample)]
            if done == len(jobs) and not sizes and set(splits.values()) == {"test"}:
                sizes += tested
            report(min(done, total), total)
            twins.add(items)
            yield from items
    yield from twins.notes()
    report(total, total)


class Twins:
    """Images that a data set holds twice, found item by item: by their pixels, and by patient, side and view."""

    def __init__(self, index: DatasetIndex) -> None:
        self._images = {image.key: image for image in index.images}
        self._pixels: dict[str, list[str]] = defaultdict(list)
        self._labels: dict[str, set[str]] = defaultdict(set)

    def add(self, items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, ImageSize):
                if item.image_key not in self._pixels[item.pixels]:
                    self._pixels[item.pixels].append(item.image_key)
            elif isinstance(item, Sample):
                self._labels[item.image_key].add(item.label)

    def notes(self) -> Iterator[Exclusion]:
        """A note about every image but the first of its kind."""
        told: set[str] = set()
        for first, *others in self._pixels.values():
            for key in others:
                told.add(key)
                yield Exclusion(key, None, "same_pixels", f"{self._named(key)} is {self._named(first)}")
        views: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for key, image in self._images.items():
            views[image.view_key].append(key)
        for first, *others in views.values():
            for key in set(others) - told:
                yield Exclusion(key, None, "same_view", f"{self._named(key)} is of the view of {self._named(first)}")

    def _named(self, key: str) -> str:
        classes = ", ".join(sorted(self._labels[key])) or "none"
        return f"{key} (patient {self._images[key].patient}, class {classes})"


def _size(sample: Sample) -> tuple[int, int]:
    return sample.window.width, sample.window.height


def _members(index: DatasetIndex, choices: tuple[Choice, ...], of_films: bool) -> list[Member]:
    """of_films: patches of films; those of a film that both official splits hold are tested, as the film is."""
    groups = {label.code: label.group for label in index.labels}
    merged = of_films and index.kind in SAME_FILM
    tested = {image.view_key for image in index.images if merged and image.official_split == "test"}

    def official(choice: Choice) -> Split | None:
        return "test" if choice.image.view_key in tested else choice.lesion.official_split

    return [Member(c.lesion.key, c.image.patient, c.label, groups[c.label], official(c)) for c in choices]


def _lesion_jobs(
    choices: tuple[Choice, ...], splits: dict[str, Split | None], root: Path, study: StudyConfig
) -> tuple[list[LesionJob], list[Exclusion]]:
    """One job per image, in index order: an image is decoded once however many lesions it has."""
    tasks: dict[str, list[LesionTask]] = defaultdict(list)
    images: dict[str, Image] = {}
    dropped = []
    for choice in choices:
        split = splits[choice.lesion.key]
        if split is None:
            dropped.append(Exclusion(choice.image.key, choice.lesion.key, "split_left_out", LEFT_OUT))
        else:
            images[choice.image.key] = choice.image
            tasks[choice.image.key].append(LesionTask(choice.lesion, choice.label, split))
    shown = _overviews(tasks, study.seed)
    jobs = [LesionJob(root, images[key], key in shown, tuple(found), study) for key, found in tasks.items()]
    return jobs, dropped


def _overviews(tasks: dict[str, list[LesionTask]], seed: int) -> set[str]:
    """Images of each class that are kept small and whole, so that a person can look at where the windows lie."""
    classes: dict[str, list[str]] = defaultdict(list)
    for key, found in tasks.items():
        for label in sorted({task.label for task in found}):
            classes[label].append(key)
    return {
        keys[place]
        for label, keys in classes.items()
        for place in generator(seed, "overviews", label).permutation(len(keys))[:OVERVIEWS]
    }


def select(index: DatasetIndex, per: Literal["image", "lesion"]) -> tuple[tuple[Choice, ...], tuple[Exclusion, ...]]:
    """Chosen lesions in index order, and an exclusion for every other lesion and every image that can't be used.

    per lesion: every lesion of a target class, under its own class.

    per image, the study's rule: within an official split, the first row of a (patient, laterality) names the class of
    all its views; of the rows of a view the last one gives the patch. So a lesion may come under a class that is not
    its own, and one without a target class may come at all.
    """
    images = {image.key: image for image in index.images}
    chosen, left_out = _per_image(index, images) if per == "image" else _per_lesion(index, images)
    broken = {exclusion.lesion_key: exclusion for exclusion in index.exclusions}
    usable = tuple(choice for choice in chosen if choice.lesion.key not in broken)
    left_out += [broken[choice.lesion.key] for choice in chosen if choice.lesion.key in broken]
    left_out += [exclusion for exclusion in index.exclusions if exclusion.lesion_key is None]
    return usable, tuple(left_out)


def _per_lesion(index: DatasetIndex, images: dict[str, Image]) -> tuple[list[Choice], list[Exclusion]]:
    chosen, left_out = [], []
    told = {exclusion.lesion_key: exclusion for exclusion in index.exclusions if exclusion.reason == NO_MARGIN}
    for lesion in index.lesions:
        if lesion.label is None:
            other = Exclusion(lesion.image_key, lesion.key, "no_target_class", lesion.pathology or "")
            left_out.append(told.get(lesion.key, other))
        else:
            chosen.append(Choice(lesion, images[lesion.image_key], lesion.label))
    return chosen, left_out


def _per_image(index: DatasetIndex, images: dict[str, Image]) -> tuple[list[Choice], list[Exclusion]]:
    first: dict[tuple[str, ...], Lesion] = {}
    last: dict[tuple[str, ...], Lesion] = {}
    for lesion in index.lesions:
        image = images[lesion.image_key]
        first.setdefault(_breast(lesion, image), lesion)
        last[_view(lesion, image)] = lesion
    chosen, left_out = [], []
    for lesion in index.lesions:
        image = images[lesion.image_key]
        label, winner = first[_breast(lesion, image)].label, last[_view(lesion, image)]
        if lesion.label is None and (label is None or winner is not lesion):
            left_out.append(Exclusion(image.key, lesion.key, "no_target_class", lesion.pathology or ""))
        elif label is None:
            names = first[_breast(lesion, image)].key
            left_out.append(Exclusion(image.key, lesion.key, "class_of_first_row", f"{names} names no target class"))
        elif winner is not lesion:
            left_out.append(Exclusion(image.key, lesion.key, "overwritten", f"by {winner.key}"))
        else:
            chosen.append(Choice(lesion, image, label))
    return chosen, left_out


def _breast(lesion: Lesion, image: Image) -> tuple[str, ...]:
    return (str(lesion.official_split), *image.view_key[:2])


def _view(lesion: Lesion, image: Image) -> tuple[str, ...]:
    return (str(lesion.official_split), *image.view_key)
