"""Another data set for a trained model: all of its own study is carried over, and nobody it learnt from stays."""

import numpy as np
import polars as pl
import pytest

from lesionlens.records import DatasetIndex, Image, Label, Lesion, SampleArrays, Statistics
from lesionlens.samples.external import Overlap, all_test, carried_over, overlap, require_known

LABELS = (Label("B", "background", "background", 0, False), Label("M", "mass", "mass", 1, True))


def arrays(classes: tuple[str, ...], labels: list[int], splits: list[str], first: int, patient: str) -> SampleArrays:
    count = len(labels)
    pixels = np.full((count, 4, 4), first, dtype=np.uint8)
    ids, patients = np.arange(first, first + count), np.array([f"{patient}{n}" for n in range(count)])
    return SampleArrays(
        f"set {first}", classes, ids, pixels, np.zeros((count, 4, 4), dtype=bool), np.array(labels), np.array(splits),
        patients, np.array(labels) > 0, tuple(classes), (Statistics(None, first / 100, 0.1),),
    )  # fmt: skip


OWN = arrays(("B", "M"), [0, 1, 0, 1], ["train", "validation", "test", "test"], 10, "a")


def test_classes_are_matched_by_code_and_all_else_is_the_study_s_own() -> None:
    other = arrays(("M", "B"), [0, 1, 1], ["train", "train", "validation"], 50, "b")
    joined = carried_over(OWN, other, Overlap((), ()))
    assert joined.classes == OWN.classes and joined.statistics == OWN.statistics
    test = joined.split("test")
    assert test.ids.tolist() == [50, 51, 52] and test.labels.tolist() == [1, 0, 0]
    assert joined.split("train").ids.tolist() == [10] and joined.split("validation").ids.tolist() == [11]


def test_patients_that_the_run_learnt_from_are_left_out_and_the_own_set_is_itself() -> None:
    shared = pl.DataFrame(
        {"key": ["i0", "i1", "i2", "i3"], "patient": ["a0", "a1", "a2", "a3"], "training": [True, True, False, False]}
    )
    found = overlap(shared)
    assert found == Overlap(("i0", "i1", "i2", "i3"), ("a0", "a1"))
    joined = carried_over(OWN, OWN, found)
    for name in ("ids", "pixels", "masks", "labels", "splits", "patients", "has_mask"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(OWN, name))
    with pytest.raises(ValueError, match="no sample is left"):
        carried_over(OWN, OWN, Overlap(("i",), ("a0", "a1", "a2", "a3")))


def index(*codes: str) -> DatasetIndex:
    images = tuple(Image(f"i{n}", f"P{n}", f"{n}.png", official_split="train") for n in range(len(codes)))
    lesions = tuple(Lesion(f"l{n}", f"i{n}", None, None, code, None) for n, code in enumerate(codes))
    return DatasetIndex("elsewhere", "manifest", "d", LABELS, images, lesions)


def test_unknown_classes_are_refused_by_name_and_missing_ones_are_named() -> None:
    assert require_known(index("M", "M"), ("B", "M")) == ("B",)
    with pytest.raises(ValueError, match=r"elsewhere.* class cyst, scar: it knows B, M"):
        require_known(index("M", "scar", "cyst"), ("B", "M"))


def test_everything_is_test_whatever_the_data_set_says() -> None:
    found = all_test(index("M", "M"))
    assert {x.official_split for x in (*found.images, *found.lesions)} == {"test"} and found.digest == "d"
