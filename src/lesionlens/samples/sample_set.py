"""From an index to samples: select, split, decode, cut. Streaming, in several processes, always in the same order.

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
from lesionlens.identity import generator
from lesionlens.processes import Processes
from lesionlens.records import DatasetIndex, Exclusion, Image, Sample, Split
from lesionlens.samples.background import background_plans, background_samples
from lesionlens.samples.cutting import Item, LesionJob, LesionTask, cut_lesions
from lesionlens.samples.selection import Choice, select
from lesionlens.samples.splits import Member, assign_splits, crossing_patients
from lesionlens.settings import settings

OVERVIEWS = 6  # of each class with lesions; a few more than a report shows, as some images may yield no sample
LEFT_OUT = "the study used no official test patch of a calcification"


def build_samples(
    index: DatasetIndex, root: Path, study: StudyConfig, report: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Item]:
    """Every sample of a study, why a lesion has none, and some of the images small and whole.

    Lesion samples first, by image, then windows of the classes without lesions. Content and order depend on the
    index, `study.patches`, `study.background`, `study.split` and `study.seed` alone, not on the number of processes.
    Every lesion of the index has either samples or one exclusion. Memory is bounded by a few full images per process.
    `report` receives (images done, images expected).
    """
    choices, left_out = select(index, study.patches.per)
    plans = background_plans(index, study)
    members = [*_members(index, choices), *(member for plan in plans for member in plan.members())]
    splits = assign_splits(members, crossing_patients(index), study.split, study.seed)
    yield from left_out
    jobs, dropped = _lesion_jobs(choices, splits, root, study)
    yield from dropped
    total = len(jobs) + sum(plan.expected(splits) for plan in plans)
    report(0, total)
    sizes: list[tuple[int, int]] = []
    with Processes(settings().workers) as processes:
        background = chain.from_iterable(background_samples(p, splits, root, sizes, processes) for p in plans)
        for done, items in enumerate(chain(processes.map(cut_lesions, jobs), background), 1):
            if done <= len(jobs):
                sizes += [_size(item) for item in items if isinstance(item, Sample) and item.split != "test"]
            report(min(done, total), total)
            yield from items
    report(total, total)


def _size(sample: Sample) -> tuple[int, int]:
    return sample.window.width, sample.window.height


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
        LesionJob(root, images[key], key in shown, tuple(found), study.patches, study.seed)
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
