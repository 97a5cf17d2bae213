"""Who goes where; the study's Table I and the leak from the real case files."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlens.config.data import SplitConfig
from lesionlens.datasets.cbis import read_kaggle as read_index
from lesionlens.records import SPLITS, Box, DatasetIndex, Exclusion, Image, Label, LeakCheck, Lesion, Sample, Split
from lesionlens.samples.sample_set import Choice, Twins, select
from lesionlens.samples.splits import (
    Member,
    SplitCheck,
    assign_splits,
    crossing_patients,
    official_overlap,
)

GROUPS = {"BC": "calcification", "MC": "calcification", "BM": "mass", "MM": "mass"}
BLANK = np.zeros((4, 4), np.uint8)


@pytest.fixture(scope="module")
def index(case_files_only: Path) -> DatasetIndex:
    """The real case files, as if every file were there."""
    found = read_index(case_files_only)
    assert (len(found.images), len(found.lesions), len(found.exclusions)) == (3103, 3568, 3568)
    return replace(found, exclusions=())


def members(choices: tuple[Choice, ...]) -> list[Member]:
    return [Member(c.lesion.key, c.image.patient, c.label, GROUPS[c.label], c.lesion.official_split) for c in choices]


def samples_of(index: DatasetIndex, splits: dict[str, Split | None]) -> list[Sample]:
    """A blank sample for every lesion that `splits` places."""
    patients = {image.key: image.patient for image in index.images}
    return [
        Sample(
            lesion.key, "MM", lesion.image_key, lesion.key, patients[lesion.image_key], split,
            Box(0, 0, 4, 4), None, None, BLANK, None,
        )
        for lesion in index.lesions
        if (split := splits.get(lesion.key)) is not None
    ]  # fmt: skip


def leak_checks(index: DatasetIndex, splits: dict[str, Split | None]) -> tuple[LeakCheck, ...]:
    check = SplitCheck(index)
    for sample in samples_of(index, splits):
        check.add(sample)
    return check.leaks()


def check(checks: tuple[LeakCheck, ...], entity: str, a: str, b: str) -> LeakCheck:
    return next(c for c in checks if (c.entity, c.split_a, c.split_b) == (entity, a, b))


def test_mammograms_that_are_in_two_case_files_are_noted(index: DatasetIndex) -> None:
    notes = list(Twins(index).notes())
    assert len(notes) == 71 and {note.reason for note in notes} == {"same_view"}
    assert "P_00034_RIGHT_CC" in notes[0].image_key and notes[0].image_key != notes[0].detail.split(" view of ")[1]


def test_table_1_follows_from_the_real_case_files(index: DatasetIndex) -> None:
    choices, left_out = select(index, "image")
    assert {c.lesion.key for c in choices}.isdisjoint(e.lesion_key for e in left_out)
    assert len(choices) + len(left_out) == 3568
    splits = assign_splits(
        members(choices), crossing_patients(index), SplitConfig(rule="paper", group="patch", validation=0.15), seed=0
    )
    counts = Counter(
        (c.label, "test" if splits[c.lesion.key] == "test" else "train") for c in choices if splits[c.lesion.key]
    )
    assert counts == {
        ("MM", "train"): 599, ("MM", "test"): 144, ("BM", "train"): 554, ("BM", "test"): 183,
        ("MC", "train"): 375, ("MC", "test"): 110, ("BC", "train"): 358, ("BC", "test"): 110,
    }  # fmt: skip
    validation = Counter(c.label for c in choices if splits[c.lesion.key] == "validation")
    assert validation == {"MM": 90, "BM": 83, "MC": 56, "BC": 54}
    assert sum(split is None for split in splits.values()) == 113 + 122


def test_the_official_parts_share_31_patients_and_29_mammograms_and_sound_ones_none(index: DatasetIndex) -> None:
    official: dict[str, Split | None] = {lesion.key: lesion.official_split for lesion in index.lesions}
    leaks = leak_checks(index, official)
    assert check(leaks, "patient", "train", "test").shared == 31
    assert check(leaks, "image", "train", "test").shared == 29
    assert check(leaks, "lesion", "train", "test").shared == 0
    assert len(check(leaks, "patient", "train", "test").examples) == 10
    crossing = crossing_patients(index)
    assert official_overlap(index) == (len(crossing), 29) == (31, 29)
    choices, _ = select(index, "lesion")
    splits = assign_splits(members(choices), crossing, SplitConfig(rule="sound", group="patient"), seed=0)
    assert {leak.shared for leak in leak_checks(index, splits)} == {0}
    assert all(splits[c.lesion.key] == "test" for c in choices if c.image.patient in crossing)
    shares = Counter((c.label, splits[c.lesion.key]) for c in choices)
    for label in GROUPS:
        training = shares[label, "train"] + shares[label, "validation"]
        assert shares[label, "validation"] / training == pytest.approx(0.15, abs=0.01)


def test_official_rule_by_patch_keeps_every_lesion_in_its_part(index: DatasetIndex) -> None:
    choices, _ = select(index, "lesion")
    split = SplitConfig(rule="official", group="patch")
    splits = assign_splits(members(choices), crossing_patients(index), split, seed=4)
    for choice in choices:
        assert (splits[choice.lesion.key] == "test") == (choice.lesion.official_split == "test")
    assert splits == assign_splits(members(choices)[::-1], crossing_patients(index), split, seed=4)
    assert splits != assign_splits(members(choices), crossing_patients(index), split, seed=5)


def test_the_studys_rule_leaves_218_patches_fewer_than_rows_of_a_target_class(index: DatasetIndex) -> None:
    choices, left_out = select(index, "image")
    reasons = Counter(exclusion.reason for exclusion in left_out)
    assert reasons["overwritten"] + reasons["class_of_first_row"] + reasons["no_target_class"] == 3568 - len(choices)
    targets = sum(lesion.label is not None for lesion in index.lesions)
    assert targets - len(choices) == 218  # 221 rows of a class dropped; 3 rows of none give a patch
    assert reasons["overwritten"] + reasons["class_of_first_row"] == 221
    borrowed = [choice for choice in choices if choice.label != choice.lesion.label]
    assert sum(choice.lesion.label is None for choice in borrowed) == 3
    assert reasons["no_target_class"] == 104 + 37 + 474 + 67 - 3


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from(sorted(GROUPS))), min_size=1, max_size=60),
    st.sampled_from(("official", "sound")),
    st.integers(0, 3),
)
def test_no_patient_is_in_train_and_validation(rows: list[tuple[int, str]], rule: str, seed: int) -> None:
    people = [Member(f"l{n}", f"p{p}", label, GROUPS[label], "train") for n, (p, label) in enumerate(rows)]
    split = SplitConfig.model_validate({"rule": rule, "group": "patient"})
    splits = assign_splits(people, frozenset(), split, seed)
    found = defaultdict(set)
    for member in people:
        found[member.patient].add(splits[member.key])
    assert all(len(places) == 1 for places in found.values())
    assert splits == assign_splits(people[::-1], frozenset(), split, seed)


def without_parts(rows: list[tuple[int, str]]) -> list[Member]:
    return [Member(f"l{n}", f"p{p}", label, GROUPS[label], None) for n, (p, label) in enumerate(rows)]


def test_a_data_set_without_parts_gets_a_seeded_split_of_whole_patients() -> None:
    rng = np.random.default_rng(0)
    people = without_parts([(int(rng.integers(80)), sorted(GROUPS)[n % 4]) for n in range(400)])
    split = SplitConfig(test=0.25)
    splits = assign_splits(people, frozenset(), split, 3)
    where = defaultdict(set)
    for member in people:
        where[member.patient].add(splits[member.key])
    assert all(len(places) == 1 for places in where.values())
    for label in GROUPS:
        of_class = [splits[m.key] for m in people if m.label == label]
        assert of_class.count("test") / len(of_class) == pytest.approx(0.25, abs=0.06)
        assert of_class.count("validation") / len(of_class) == pytest.approx(0.75 * 0.15, abs=0.06)
    assert splits == assign_splits(people[::-1], frozenset(), split, 3)
    assert splits != assign_splits(people, frozenset(), split, 4)


@pytest.mark.parametrize("rule", ["official", "paper"])
def test_rules_about_parts_are_refused_where_there_are_none(rule: str) -> None:
    split = SplitConfig.model_validate({"rule": rule})
    with pytest.raises(ValueError, match="l0 has no official split: name one for every image"):
        assign_splits(without_parts([(1, "BM")]), frozenset(), split, 0)


def test_parts_for_some_members_only_are_refused() -> None:
    some = [*without_parts([(1, "BM")]), Member("l1", "p2", "BM", "mass", "train")]
    with pytest.raises(ValueError, match="l0 has no official split"):
        assign_splits(some, frozenset(), SplitConfig(), 0)


def test_a_validation_part_of_the_data_sets_own_is_kept() -> None:
    given: tuple[Split, ...] = ("train", "validation", "test")
    people = [Member(f"l{n}", f"p{n}", "BM", "mass", given[n % 3]) for n in range(30)]
    for rule in ("official", "sound"):
        split = SplitConfig.model_validate({"rule": rule})
        assert assign_splits(people, frozenset(), split, 0) == {m.key: m.official_split for m in people}


def filled(counts: dict[tuple[Split, str], int], left_out: tuple[Exclusion, ...] = ()) -> SplitCheck:
    """A check of a data set of two classes with lesions and one without, after so many samples."""
    labels = (Label("N", "normal", "N", 0, False), Label("BM", "b", "m", 1, True), Label("MM", "m", "m", 2, True))
    images = tuple(Image(f"i{n}", f"p{n}", f"{n}.png", background="N" if n > 7 else None) for n in range(10))
    lesions = tuple(Lesion(f"l{n}", f"i{n}", None, None, ("BM", "MM")[n // 4], "m.png") for n in range(8))
    check = SplitCheck(DatasetIndex("own", "manifest", "d", labels, images, lesions))
    for (split, label), count in counts.items():
        for n in range(count):
            check.add(Sample(f"{n}", label, "i0", None, "p0", split, Box(0, 0, 4, 4), None, None, BLANK, None))
    for exclusion in left_out:
        check.add(exclusion)
    return check


def test_a_class_without_samples_in_a_split_stops_the_study_and_says_why() -> None:
    whole: dict[tuple[Split, str], int] = {(split, label): 2 for split in SPLITS for label in ("N", "BM", "MM")}
    filled(whole).require_samples()
    empty = tuple(Exclusion(f"i{n}", f"l{n}", "empty_mask", "m.png marks no pixel") for n in range(4, 8))
    short = Exclusion("i9", None, "background_short", "no room")
    for split in SPLITS:
        for label in ("BM", "MM", "N"):
            with pytest.raises(ValueError, match=f"class {label} has no sample in {split}: "):
                filled({key: n for key, n in whole.items() if key != (split, label)}).require_samples()
        with pytest.raises(ValueError, match=rf"no sample is in the {split} split: 4 of 8 lesions left out"):
            filled({key: n for key, n in whole.items() if key[0] != split}, (*empty, short)).require_samples()
    gone = {key: n for key, n in whole.items() if key[1] != "MM"}
    words = (
        r"class MM has no sample in train or validation or test: "
        r"4 of 4 lesions left out: empty_mask 4, first i4 \(m.png marks no pixel\)"
    )
    with pytest.raises(ValueError, match=words):
        filled(gone, (*empty, short)).require_samples()
    with pytest.raises(ValueError, match=r"class N .*: 1 notes on its 2 images: background_short 1, first i9"):
        filled({key: n for key, n in whole.items() if key[1] != "N"}, (*empty, short)).require_samples()
