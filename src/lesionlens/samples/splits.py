"""Who goes to training, validation and test, and whether two splits have anything in common."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal, get_args

from lesionlens.config.data import SplitConfig
from lesionlens.errors import one_line
from lesionlens.identity import generator
from lesionlens.records import (
    SPLITS,
    DatasetIndex,
    Exclusion,
    ImageSize,
    Label,
    LeakCheck,
    Overview,
    Sample,
    Split,
)

Entity = Literal["patient", "image", "lesion", "pixels"]
REMEDY = "; mend what is left out, or add patients: whole patients are split, and a class needs one in each split"

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

    official: the data set's own splits. given: these, and no validation split is drawn. sound: patients in `crossing`
    (see `crossing_patients`) go wholly to test; where the data set has no splits, `split.test` of the patients do,
    drawn so that every class comes close to it.
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
    if split.rule != "given" and "validation" not in splits.values():
        training = sorted((m for m in members if splits[m.key] == "train"), key=lambda m: m.key)
        if split.group == "patient":
            chosen = _patients(training, split.validation, seed, "validation patients")
        else:
            chosen = _members(training, split.validation, seed, "validation")
        splits |= dict.fromkeys(chosen, "validation")
    return splits


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
        splits[image.view_key].add(image.official_split)
    return len(crossing_patients(index)), sum(len(found) > 1 for found in splits.values())


class SplitCheck:
    """What each split holds, gathered item by item, and whether a model can be trained and tested on it.

    An image is a (patient, side, view); `pixels` are images by their content.
    """

    def __init__(self, index: DatasetIndex) -> None:
        self._index = index
        self._images = {image.key: image for image in index.images}
        self._labels = {lesion.key: lesion.label for lesion in index.lesions}
        self._found: dict[tuple[Entity, Split], set[str]] = defaultdict(set)
        self._content: dict[str, str] = {}
        self._left_out: dict[str | None, list[Exclusion]] = defaultdict(list)
        self.counts: Counter[tuple[Split, str]] = Counter()
        """Samples by split and class code."""

    def add(self, item: Sample | Exclusion | ImageSize | Overview) -> None:
        """Take one item as `build_samples` gives it."""
        if isinstance(item, ImageSize):
            self._content[item.image_key] = item.pixels
        elif isinstance(item, Exclusion):
            image = self._images[item.image_key]
            self._left_out[self._labels[item.lesion_key] if item.lesion_key else image.background].append(item)
        elif isinstance(item, Sample):
            self.counts[item.split, item.label] += 1
            self._found["patient", item.split].add(item.patient)
            self._found["image", item.split].add("_".join(self._images[item.image_key].view_key))
            if item.image_key in self._content:
                self._found["pixels", item.split].add(self._content[item.image_key])
            own = set() if item.lesion_key is None else {item.lesion_key}
            self._found["lesion", item.split] |= own.union(shown.key for shown in item.lesions)

    def leaks(self) -> tuple[LeakCheck, ...]:
        """What every two splits have in common; images of the same pixels by the name of one of them."""
        names = {content: key for key, content in self._content.items()}
        checks = []
        entities: tuple[Entity, ...] = get_args(Entity)
        for entity, (a, b) in product(entities, combinations(SPLITS, 2)):
            shared = sorted(names.get(x, x) for x in self._found[entity, a] & self._found[entity, b])
            checks.append(LeakCheck(entity, a, b, len(shared), tuple(shared[:10])))
        return tuple(checks)

    def require_samples(self) -> None:
        """ValueError where a class has no sample in a split: it names the class, how many lesions and why."""
        labels, what = self._index.labels, ""
        for label in reversed(labels):
            empty = [split for split in SPLITS if not self.counts[split, label.code]]
            if empty:
                what = f"class {label.code} has no sample in {' or '.join(empty)}: {self._reasons(label)}{REMEDY}"
        for split in SPLITS:
            if not any(self.counts[split, label.code] for label in labels):
                what = f"no sample is in the {split} split: {self._reasons(None)}{REMEDY}"
                break
        if len(labels) < 2:
            what = f"the data set has one class, {labels[0].code}: a study needs two"
        if what:
            raise ValueError(one_line(what))

    def _reasons(self, label: Label | None) -> str:
        """How many lesions, of a class or of all, yield no sample, by reason, with the first one."""
        codes = list(self._left_out) if label is None else [label.code]
        found = [e for code in codes for e in self._left_out[code]]
        lesions = [e for e in found if e.lesion_key is not None]
        if label is None or label.is_lesion:
            every = [code for code in self._labels.values() if label is None or code == label.code]
            words = f"{len(lesions)} of {len(every)} lesions left out"
        else:
            lesions = found
            images = sum(image.background == label.code for image in self._index.images)
            words = f"{len(lesions)} notes on its {images} images"
        if not lesions:
            return words
        reasons = ", ".join(f"{reason} {n}" for reason, n in Counter(e.reason for e in lesions).most_common())
        return f"{words}: {reasons}, first {lesions[0].image_key} ({lesions[0].detail})"


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
