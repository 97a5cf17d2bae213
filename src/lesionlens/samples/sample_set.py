"""From an index to patches: select, split, decode, cut. Streaming, in several processes, always in the same order.

Reasons of exclusions. From the tables: `no_target_class` (a finding of no class), `class_of_first_row` and
`overwritten` (one patch per image, the study's rule), `split_left_out` (the study's rule for the test split). From the
files: `path_refused`, `image_` or `mask_` followed by `missing`, `ambiguous`, `refused` (a link that leaves the data
folder), `unreadable`, `too_large`; `mask_shape` (another aspect ratio than its image's), `empty_mask`. Notes about an
image, without a lesion: `mask_resized`, `background_short`, and `background_unreadable`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from lesionlens.config import StudyConfig
from lesionlens.datasets.cbis import LEFT_OUT
from lesionlens.identity import generator
from lesionlens.processes import Processes
from lesionlens.records import DatasetIndex, Exclusion, Image, ImageSize, Overview, Sample, Split
from lesionlens.samples.background import BackgroundPlan, background_samples
from lesionlens.samples.cutting import LesionJob, LesionTask, cut_lesions
from lesionlens.samples.selection import Choice, select, view_key
from lesionlens.samples.splits import Member, assign_splits, crossing_patients

OVERVIEWS = 6  # images of each class with lesions; a few more than a report shows, as some may yield no patch

Item = Sample | Exclusion | ImageSize | Overview


def build_samples(
    index: DatasetIndex, root: Path, study: StudyConfig, report: Callable[[int, int], None] | None = None
) -> Iterator[Item]:
    """Every patch of a study, for every lesion without one why, and some of the images small and whole.

    Lesion patches first, by image, then windows of the classes without lesions. Content and order depend on the
    index, `study.patches`, `study.background`, `study.split` and `study.seed` alone, not on the number of processes.
    Every lesion of the index has either patches or one exclusion. Memory is bounded by a few full images per process.
    `report` receives (images done, images expected).
    """
    choices, left_out = select(index, study.patches.per)
    plans = _background_plans(index, study)
    members = [*_members(index, choices), *(member for plan in plans for member in plan.members())]
    splits = assign_splits(members, crossing_patients(index), study.split, study.seed)
    yield from left_out
    jobs, dropped = _lesion_jobs(choices, splits, root, study)
    yield from dropped
    total = len(jobs) + sum(plan.expected(splits) for plan in plans)
    done = 0
    sizes: list[tuple[int, int]] = []
    tell = report or (lambda done, total: None)
    tell(0, total)
    with Processes(study.execution.workers) as processes:
        for items in processes.map(cut_lesions, jobs):
            done += 1
            tell(done, total)
            for item in items:
                if isinstance(item, Sample) and item.split != "test":
                    sizes.append((item.window.width, item.window.height))
                yield item
        for found in chain.from_iterable(background_samples(p, splits, root, sizes, processes) for p in plans):
            done = min(done + 1, total)
            tell(done, total)
            yield from found
    tell(total, total)


def _members(index: DatasetIndex, choices: tuple[Choice, ...]) -> list[Member]:
    groups = {label.code: label.group for label in index.labels}
    return [Member(c.lesion.key, c.image.patient, c.label, groups[c.label], c.lesion.official_split) for c in choices]


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
    jobs = [
        LesionJob(root, images[key], tuple(found), study.patches, study.seed, key in shown)
        for key, found in tasks.items()
    ]
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


def _background_plans(index: DatasetIndex, study: StudyConfig) -> list[BackgroundPlan]:
    """One for every class without lesions."""
    images: dict[str | None, list[Image]] = defaultdict(list)
    for image in _background_images(index):
        images[image.background].append(image)
    return [BackgroundPlan(index, x, images[x.code], study) for x in index.labels if not x.is_lesion]


def _background_images(index: DatasetIndex) -> list[Image]:
    """Images that may give background windows and whose files are all there.

    A mammogram that is in two case files is left alone: its other key may hold a lesion, or a mask of another size.
    """
    keys: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for image in index.images:
        keys[view_key(image)].add(image.key)
    unfit = {lesion.image_key for lesion in index.lesions if lesion.label is not None}
    unfit |= {exclusion.image_key for exclusion in index.exclusions}
    return [i for i in index.images if i.background and i.key not in unfit and len(keys[view_key(i)]) == 1]
