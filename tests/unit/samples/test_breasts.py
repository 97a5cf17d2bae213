"""Breasts: both views of one as a sample, the CC above the MLO; why other films are of none."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesionlens.config.study import StudyConfig
from lesionlens.datasets.cbis import read_kaggle
from lesionlens.records import Exclusion, Image, Sample
from lesionlens.samples.films.pairing import joined, pairs
from lesionlens.samples.sample_set import build_samples
from tests.unit.files import Kaggle, small_study

LESION = ((60, 80, 100, 110),)


def study(root: Path, unit: str = "breast", **parts: object) -> StudyConfig:
    top = {"top": "two_views" if unit == "breast" else "residual"}
    given = {"images": {"height": 96, "width": 64}, "training": top, "grid": {"strategies": ("two_step",)}} | parts
    return small_study(root, unit=unit, **given)


def cut(root: Path, unit: str = "breast") -> tuple[list[Sample], list[Exclusion]]:
    items = list(build_samples(read_kaggle(root), root, study(root, unit)))
    return [i for i in items if isinstance(i, Sample)], [i for i in items if isinstance(i, Exclusion)]


def test_a_breast_is_its_two_films_one_above_the_other(kaggle: Kaggle) -> None:
    for n in range(1, 7):
        for view in ("MLO", "CC"):
            kaggle.case(f"P_{n}", LESION, view=view, pathology="MALIGNANT" if n % 2 else "BENIGN",
                        split="test" if n > 4 else "train")  # fmt: skip
    root = kaggle.finish()
    breasts, left = cut(root)
    films = {film.key: film for film in cut(root, "image")[0]}
    assert len(breasts) == 6 and len(films) == 12 and not {e.reason for e in left} - {"breast_unclear"}
    for breast in breasts:
        cc, mlo = (films[key] for key in breast.key.split(" and "))
        assert cc.key.endswith("CC") and mlo.key.endswith("MLO") and cc.patient == mlo.patient == breast.patient
        assert np.array_equal(breast.pixels, np.concatenate([cc.pixels, mlo.pixels]))
        for name in ("mask", "breast"):
            upper, lower = getattr(cc, name), getattr(mlo, name)
            assert np.array_equal(getattr(breast, name), np.concatenate([upper, lower]))
        assert (breast.label, breast.split, breast.lesion_key) == (cc.label, cc.split, cc.lesion_key)
        above, below = breast.lesions
        assert above == cc.lesions[0] and below.box[1] == pytest.approx(mlo.lesions[0].box[1] + 96)


def test_films_without_their_other_view_are_counted(kaggle: Kaggle) -> None:
    alone = kaggle.case("P_1", ((20, 40, 60, 80), (100, 150, 140, 200)))
    lost = [kaggle.case("P_2", LESION, view=view) for view in ("CC", "MLO")]
    for view in ("CC", "MLO"):
        kaggle.case("P_3", LESION, view=view, pathology="BENIGN")
    root = kaggle.finish()
    kaggle.full_path(lost[0]).write_bytes(b"no picture")
    breasts, left = cut(root)
    assert [breast.patient for breast in breasts] == ["P_3"]
    single = [each for each in left if each.reason == "single_view"]
    assert sorted(each.image_key for each in single) == sorted([alone, alone, lost[1]])
    assert all(each.lesion_key for each in single)


def test_a_breast_is_malignant_by_either_film_and_shows_the_lesions_of_that_one(kaggle: Kaggle) -> None:
    for view in ("CC", "MLO"):
        kaggle.case("P_1", LESION, view=view)
    root = kaggle.finish()
    cc, mlo = cut(root, "image")[0]
    breast = joined(replace(cc, label="BENIGN"), mlo)
    assert breast.label == "MALIGNANT" and (breast.image_key, breast.lesion_key) == (mlo.image_key, mlo.lesion_key)
    assert breast.mask is not None and not breast.mask[:24].any() and np.array_equal(breast.mask[24:], mlo.mask)
    assert breast.mask_fraction == pytest.approx((mlo.mask_fraction or 0) / 2)


def test_the_first_film_of_a_view_stands_for_the_others() -> None:
    def film(key: str, side: str | None, view: str | None) -> Image:
        return Image(key, "P", f"{key}.png", side, view)

    images = [film("b", "LEFT", "CC"), film("a", "LEFT", "CC"), film("c", "LEFT", "MLO"), film("d", None, "CC"),
              film("e", "RIGHT", "LM"), film("f", "RIGHT", "MLO")]  # fmt: skip
    found, left = pairs(images, {"f": ["one", "two"]})
    assert [(cc.key, mlo.key) for cc, mlo in found] == [("a", "c")]
    assert sorted((e.image_key, e.lesion_key, e.reason) for e in left if e.lesion_key is None) == [
        ("b", None, "another_of_view"), ("d", None, "no_laterality"), ("e", None, "no_laterality"),
    ]  # fmt: skip
    assert [(e.lesion_key, e.reason) for e in left if e.image_key == "f"] == [
        ("one", "single_view"), ("two", "single_view"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"training": {"top": "mbconv"}}, "unit breast and training.top two_views go together"),
        ({"evaluation": {"layer": "conv"}}, "choose evaluation.layer block"),
    ],
)
def test_what_two_views_cannot_be_is_refused(tmp_path: Path, parts: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        study(tmp_path, **parts)
