"""Who goes to training, validation and test, and whether the splits share anything (protocol section 5)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from lesionlens.config import SplitConfig
from lesionlens.datasets.cbis import MOVED, MOVED_GROUP, SMALLEST
from lesionlens.identity import generator
from lesionlens.records import SPLITS, DatasetIndex, Image, LeakCheck, Sample, Split
from lesionlens.samples.selection import view_key

Unit = Literal["patient", "image", "lesion"]


@dataclass(frozen=True, slots=True)
class Member:
    """What a split places: a lesion, or a background image. `key` is unique; `group` pools labels."""

    key: str
    patient: str
    label: str
    group: str
    official_split: Split | None


def assign_splits(
    members: Sequence[Member], crossing: frozenset[str], split: SplitConfig, seed: int
) -> dict[str, Split | None]:
    """The split of every member by key; None for what the rule `paper` leaves out.

    official: the data set's own splits. sound: patients in `crossing` (see `crossing_patients`) go wholly to test;
    where the data set has no parts, `split.test` of the patients do, drawn so that every class comes close to it.
    paper: as the published study did with CBIS-DDSM (the constants in `data/cbis.py`): members of each class of one
    group move from training to test, and the group's official test split is left out. From training,
    `split.validation` of each class becomes validation: single members, or whole patients; a validation split of the
    data set's own is kept instead.
    Order of members does not matter.

    ValueError when some or all members have no official split and the rule needs one.
    """
    splits: dict[str, Split | None] = {m.key: m.official_split for m in members}
    without = [member for member in members if member.official_split is None]
    if without and (split.rule != "sound" or len(without) < len(members)):
        raise ValueError(
            f"{without[0].key} has no official split: name one for every image, or for none and split by rule 'sound'"
        )
    if without:
        tested = frozenset(_patients(sorted(members, key=lambda m: m.key), split.test, seed, "test patients"))
        splits = {m.key: "test" if m.key in tested else "train" for m in members}
    elif split.rule == "sound":
        splits |= {m.key: "test" for m in members if m.patient in crossing}
    elif split.rule == "paper":
        _move_to_test(members, splits, seed)
    if "validation" not in splits.values():
        training = sorted((m for m in members if splits[m.key] == "train"), key=lambda m: m.key)
        name = "validation patients"
        by_patient = split.group == "patient"
        chosen = _patients(training, split.validation, seed, name) if by_patient else _single(training, split, seed)
        splits |= dict.fromkeys(chosen, "validation")
    return splits


def check_splits(counts: Mapping[tuple[Split, str], int]) -> None:
    """Whether a model can be trained and tested on these splits; `counts` are patches by split and class code.

    ValueError, with a remedy, where a split is empty or where a class of another split is missing from training.
    """
    found = {split: {code for (place, code), n in counts.items() if place == split and n} for split in SPLITS}
    for split, codes in found.items():
        if not codes:
            raise ValueError(
                f"no patch is in the {split} split: check the data folder, the split and the exclusions; whole patients"
                " are split, so a few are too few"
            )
    for code in sorted((found["validation"] | found["test"]) - found["train"]):
        raise ValueError(
            f"class {code} has patches to be tested with and none in the train split: add patients of it, or change the"
            " split"
        )


def crossing_patients(index: DatasetIndex) -> frozenset[str]:
    """Patients with an image in both official splits, whatever its lesions."""
    found: dict[str, set[str | None]] = defaultdict(set)
    for image in index.images:
        found[image.patient].add(image.official_split)
    return frozenset(patient for patient, splits in found.items() if len(splits) > 1)


def official_overlap(index: DatasetIndex) -> tuple[int, int]:
    """How many patients, and how many (patient, side, view), have images in several official splits, patches or not."""
    splits: dict[tuple[str, ...], set[str | None]] = defaultdict(set)
    for image in index.images:
        splits[view_key(image)].add(image.official_split)
    return len(crossing_patients(index)), sum(len(found) > 1 for found in splits.values())


def leak_checks(patches: Iterable[Sample], images: Iterable[Image]) -> tuple[LeakCheck, ...]:
    """Patients, images and lesions that two splits share, for every two splits. An image is a (patient, side, view)."""
    shared = Shared(images)
    for patch in patches:
        shared.add(patch)
    return shared.checks()


class Shared:
    """What each split holds, gathered patch by patch; `checks` tells what two splits share."""

    def __init__(self, images: Iterable[Image]) -> None:
        self._views = {image.key: "_".join(view_key(image)) for image in images}
        self._units: dict[tuple[Unit, Split], set[str]] = defaultdict(set)

    def add(self, patch: Sample) -> None:
        self._units["patient", patch.split].add(patch.patient)
        self._units["image", patch.split].add(self._views[patch.image_key])
        if patch.lesion_key is not None:
            self._units["lesion", patch.split].add(patch.lesion_key)

    def checks(self) -> tuple[LeakCheck, ...]:
        kinds: tuple[Unit, ...] = ("patient", "image", "lesion")
        return tuple(self._check(unit, a, b) for unit in kinds for a, b in combinations(SPLITS, 2))

    def _check(self, unit: Unit, a: Split, b: Split) -> LeakCheck:
        shared = sorted(self._units[unit, a] & self._units[unit, b])
        return LeakCheck(unit, a, b, len(shared), tuple(shared[:10]))


def _move_to_test(members: Sequence[Member], splits: dict[str, Split | None], seed: int) -> None:
    classes: dict[str, list[str]] = defaultdict(list)
    for member in members:
        if member.group == MOVED_GROUP:
            if splits[member.key] == "test":
                splits[member.key] = None
            else:
                classes[member.label].append(member.key)
    for label, keys in classes.items():
        count = min(MOVED, len(keys) * MOVED // SMALLEST)
        for place in generator(seed, "moved to test", label).permutation(len(keys))[:count]:
            splits[sorted(keys)[place]] = "test"


def _single(training: Sequence[Member], split: SplitConfig, seed: int) -> list[str]:
    """Validation members, drawn within each class."""
    classes: dict[str, list[str]] = defaultdict(list)
    for member in training:
        classes[member.label].append(member.key)
    chosen = []
    for label, keys in classes.items():
        order = generator(seed, "validation", label).permutation(len(keys))
        chosen += [keys[place] for place in order[: round(split.validation * len(keys))]]
    return chosen


def _patients(members: Sequence[Member], share: float, seed: int, draw: str) -> list[str]:
    """Keys of the members of some patients, so that every class comes close to its share.

    Patients come in random order; one is taken when that brings the classes closer to their targets, in squares
    relative to the target. A class left without any takes the patient with the fewest members.
    """
    people: dict[str, Counter[str]] = defaultdict(Counter)
    for member in members:
        people[member.patient][member.label] += 1
    names = sorted(people)
    total = sum(people.values(), Counter[str]())
    target = {label: share * count for label, count in total.items()}
    taken: Counter[str] = Counter()
    chosen: set[str] = set()
    order = [names[place] for place in generator(seed, draw).permutation(len(names))]
    for name in order:
        change = sum(n * (n + 2 * (taken[label] - target[label])) / target[label] for label, n in people[name].items())
        if change < 0:
            chosen.add(name)
            taken += people[name]
    for label in sorted(total):
        having = [name for name in order if people[name][label] and name not in chosen]
        if not taken[label] and len(having) > 1:
            name = min(having, key=lambda n: people[n].total())
            chosen.add(name)
            taken += people[name]
    return [member.key for member in members if member.patient in chosen]
