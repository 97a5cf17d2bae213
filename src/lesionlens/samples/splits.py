"""Who goes to training, validation and test, and whether two splits have anything in common."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal, get_args

from lesionlens.config import SplitConfig
from lesionlens.identity import generator
from lesionlens.records import SPLITS, DatasetIndex, Image, LeakCheck, Sample, Split
from lesionlens.samples.selection import view_key

Entity = Literal["patient", "image", "lesion"]

# The published study's test split: of the classes of one group, training patches in place of the official test split.
MOVED_GROUP = "calcification"
MOVED = 110  # training patches moved to test, of each class of the group
SMALLEST = 468  # the group's smaller class in the official training split; scales MOVED for smaller data sets


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
    where the data set has no splits, `split.test` of the patients do, drawn so that every class comes close to it.
    paper: as the published study did with CBIS-DDSM: members of each class of MOVED_GROUP move from training to test,
    and the group's official test split is left out. From training,
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
        if split.group == "patient":
            chosen = _patients(training, split.validation, seed, "validation patients")
        else:
            chosen = _members(training, split.validation, seed, "validation")
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


class SplitOverlap:
    """Patients, images and lesions of each split, gathered sample by sample. An image is a (patient, side, view)."""

    def __init__(self, images: Iterable[Image]) -> None:
        self._views = {image.key: "_".join(view_key(image)) for image in images}
        self._found: dict[tuple[Entity, Split], set[str]] = defaultdict(set)

    def add(self, sample: Sample) -> None:
        self._found["patient", sample.split].add(sample.patient)
        self._found["image", sample.split].add(self._views[sample.image_key])
        if sample.lesion_key is not None:
            self._found["lesion", sample.split].add(sample.lesion_key)

    def checks(self) -> tuple[LeakCheck, ...]:
        """What every two splits have in common."""
        checks = []
        entities: tuple[Entity, ...] = get_args(Entity)
        for entity, (a, b) in product(entities, combinations(SPLITS, 2)):
            shared = sorted(self._found[entity, a] & self._found[entity, b])
            checks.append(LeakCheck(entity, a, b, len(shared), tuple(shared[:10])))
        return tuple(checks)


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


def _members(members: Sequence[Member], proportion: float, seed: int, draw: str) -> list[str]:
    """Keys of that proportion of each class."""
    classes: dict[str, list[str]] = defaultdict(list)
    for member in members:
        classes[member.label].append(member.key)
    chosen = []
    for label, keys in classes.items():
        order = generator(seed, draw, label).permutation(len(keys))
        chosen += [keys[place] for place in order[: round(proportion * len(keys))]]
    return chosen


def _patients(members: Sequence[Member], proportion: float, seed: int, draw: str) -> list[str]:
    """Keys of the members of some patients, so that every class comes close to its proportion.

    Patients come in random order; one is taken when that brings the classes closer to their targets, in squares
    relative to the target. A class left without any takes the patient with the fewest members.
    """
    people: dict[str, Counter[str]] = defaultdict(Counter)
    for member in members:
        people[member.patient][member.label] += 1
    names = sorted(people)
    total = sum(people.values(), Counter[str]())
    target = {label: proportion * count for label, count in total.items()}
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
