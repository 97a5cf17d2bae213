"""From an index of films to samples: which films, their splits, cut in several processes in the same order."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lesionlens.config.study import StudyConfig
from lesionlens.identity import generator
from lesionlens.processes import Processes
from lesionlens.records import DatasetIndex, Exclusion, Lesion, Split
from lesionlens.samples.cutting import Item
from lesionlens.samples.films.cutting import FilmJob, cut_film
from lesionlens.samples.films.merging import Films, films, label_of
from lesionlens.samples.films.pairing import BreastJob, cut_breast, pairs
from lesionlens.samples.splits import Member, assign_splits, crossing_patients
from lesionlens.settings import settings

OVERVIEWS = 6  # of each class


def build_films(
    given: DatasetIndex,
    root: Path,
    study: StudyConfig,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[list[Item]]:
    """Items film by film, in the order of the index: samples, exclusions, notes.

    A lesion of no class, or whose annotation is missing, has an exclusion; a film that has no other gives no sample. A
    film without any lesion is a sample where its image is of a class without lesions. `given`: as the reader found it.
    """
    found = films(given, study.data.positive)
    jobs, left_out = _jobs(found, given, root, study)
    yield [*left_out, *found.notes()]
    report(0, len(jobs))
    with Processes(settings().workers) as processes:
        cut = processes.map(cut_film, jobs) if study.unit == "image" else processes.map(cut_breast, _breasts(jobs))
        for done, items in enumerate(cut, 1):
            report(done, len(jobs))
            yield items


def _jobs(found: Films, given: DatasetIndex, root: Path, study: StudyConfig) -> tuple[list[FilmJob], list[Item]]:
    index = found.index
    broken = {exclusion.lesion_key for exclusion in index.exclusions if exclusion.lesion_key is not None}
    bad = {exclusion.image_key for exclusion in index.exclusions if exclusion.lesion_key is None}
    left_out: list[Item] = list(index.exclusions)
    usable: dict[str, list[Lesion]] = defaultdict(list)
    every: dict[str, list[Lesion]] = defaultdict(list)
    for lesion in index.lesions:
        every[lesion.image_key].append(lesion)
        if lesion.label is None:
            if lesion.key not in broken:
                left_out.append(Exclusion(lesion.image_key, lesion.key, "no_target_class", lesion.pathology or ""))
        elif lesion.key not in broken:
            usable[lesion.image_key].append(lesion)
    normal = {label.code for label in given.labels if not label.is_lesion}
    taken = [
        image for image in index.images
        if image.key not in bad and (usable[image.key] or (image.background in normal and not every[image.key]))
    ]  # fmt: skip
    if study.unit == "breast":
        both, alone = pairs(taken, {key: [lesion.key for lesion in found] for key, found in usable.items()})
        taken, left_out = [image for pair in both for image in pair], [*left_out, *alone]
    labels = {image.key: label_of(every[image.key]) for image in taken}
    members = [Member(i.key, i.patient, labels[i.key], labels[i.key], i.official_split) for i in taken]
    splits = assign_splits(members, crossing_patients(given), study.split, study.seed)
    shown = _overviews(labels, study.seed)
    jobs = []
    for image in taken:
        split = splits[image.key]
        assert split is not None  # the rule that leaves some out is refused for films
        files = (image, *found.twins.get(image.key, ()))
        lesions = tuple(usable[image.key])
        jobs.append(FilmJob(root, image, files, image.key in shown, lesions, labels[image.key], split, study))
    return jobs, left_out


def _breasts(jobs: Sequence[FilmJob]) -> Iterator[BreastJob]:
    """Two films after each other are one breast; it is tested where one of them is."""
    for cc, mlo in zip(jobs[::2], jobs[1::2], strict=True):
        split: Split = "test" if "test" in (cc.split, mlo.split) else cc.split
        yield BreastJob((replace(cc, split=split), replace(mlo, split=split)))


def _overviews(labels: dict[str, str], seed: int) -> set[str]:
    """Films of each class that are kept small, too, for the contact sheet."""
    classes: dict[str, list[str]] = defaultdict(list)
    for key, label in labels.items():
        classes[label].append(key)
    return {
        keys[place]
        for label, keys in sorted(classes.items())
        for place in generator(seed, "overviews", label).permutation(len(keys))[:OVERVIEWS]
    }
