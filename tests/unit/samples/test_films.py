"""Whole films: one sample for each, whichever files hold it, with its class, its breast and its lesions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesionlens.config.study import StudyConfig
from lesionlens.datasets.cbis import read_kaggle
from lesionlens.datasets.manifest import read_manifest
from lesionlens.records import Exclusion, Overview, Sample
from lesionlens.samples.films.cutting import breast_mask
from lesionlens.samples.films.merging import films, sampled
from lesionlens.samples.sample_set import build_samples
from lesionlens.samples.splits import SplitCheck, crossing_patients
from tests.unit.files import Kaggle, Own, small_study

SIZE = {"height": 96, "width": 64}


def study(root: Path, **parts: object) -> StudyConfig:
    images = SIZE | parts.pop("images", {})  # type: ignore[operator]
    return small_study(root, unit="image", images=images, **parts)


def cut(root: Path, **parts: object) -> tuple[dict[str, Sample], list[Exclusion]]:
    items = list(build_samples(read_kaggle(root), root, study(root, **parts)))
    return {i.key: i for i in items if isinstance(i, Sample)}, [i for i in items if isinstance(i, Exclusion)]


def reasons(found: list[Exclusion]) -> set[tuple[str, str]]:
    return {(each.image_key, each.reason) for each in found}


def test_a_phantom_gives_one_film_per_image(phantom: Path) -> None:
    index = read_kaggle(phantom)
    items = list(build_samples(index, phantom, study(phantom)))
    found = [i for i in items if isinstance(i, Sample)]
    named = sampled(index, study(phantom))
    assert [film.key for film in found] == [image.key for image in named.images]
    assert len({named.images[n].view_key for n in range(len(found))}) == len(found)
    malignant = {lesion.image_key for lesion in named.lesions if (lesion.pathology or "").startswith("MALIGNANT")}
    assert {film.key for film in found if film.label == "MALIGNANT"} == malignant
    check = SplitCheck(named)
    for item in items:
        check.add(item)
    check.require_samples()
    assert {leak.shared for leak in check.leaks()} == {0}
    assert sum(len(film.lesions) for film in found) == len(named.lesions)
    for film in found:
        assert film.pixels.shape == (96, 64) and film.mask is not None and film.breast is not None
        assert film.mask.shape == film.breast.shape == (24, 16)
        assert 0.1 < film.breast.mean() < 0.9 and (film.mask & ~film.breast).sum() <= 0.25 * film.mask.sum() + 1
        assert film.mask.mean() == pytest.approx(film.mask_fraction, abs=0.02)
    assert any(isinstance(item, Overview) for item in items)


def test_a_film_of_two_files_is_one_sample_with_all_its_lesions(kaggle: Kaggle) -> None:
    first = kaggle.case("P_1", boxes=((20, 40, 60, 80),), kind="mass", pathology="BENIGN")
    kaggle.case("P_1", boxes=((100, 150, 140, 200),), kind="calc", pathology="MALIGNANT")
    for n in range(2, 6):
        kaggle.case(f"P_{n}", split="train" if n % 2 else "test", pathology="BENIGN")
    found, left = cut(kaggle.finish())
    assert len(found) == 5 and (first, "same_film") in reasons(left)
    film = found[first]
    assert film.label == "MALIGNANT" and len(film.lesions) == 2
    assert film.lesion_key is not None and film.lesion_key.startswith("Calc")
    assert film.mask is not None and film.lesion_box is not None
    # asked for its malignant lesion, the film shows that one alone
    rows, columns = np.nonzero(film.mask)
    assert rows.mean() / 24 == pytest.approx(175 / 300, abs=0.05) and columns.mean() / 16 == pytest.approx(
        0.6, abs=0.06
    )
    assert (film.lesion_box.x0, film.lesion_box.y1) == (100, 200)
    assert film.lesions[0].box == pytest.approx((20 / 200 * 64, 40 / 300 * 96, 60 / 200 * 64, 80 / 300 * 96), abs=0.5)


@pytest.mark.parametrize("rule", ["official", "sound"])
def test_a_film_in_both_official_splits_is_tested_and_named(kaggle: Kaggle, rule: str) -> None:
    first = kaggle.case("P_1", kind="mass", split="train")
    kaggle.case("P_1", kind="calc", split="test")
    for n in range(2, 8):
        kaggle.case(f"P_{n}", split="train" if n % 2 else "test", pathology="BENIGN" if n < 5 else "MALIGNANT")
    found, left = cut(kaggle.finish(), split={"rule": rule})
    assert found[first].split == "test" and (first, "both_splits") in reasons(left)
    assert [film.key for film in found.values() if film.patient == "P_1"] == [first]


def test_patches_of_a_film_in_both_official_splits_are_tested_too(kaggle: Kaggle) -> None:
    kaggle.case("P_1", kind="mass", split="train")
    kaggle.case("P_1", kind="calc", split="test")
    for n in range(2, 8):
        kaggle.case(f"P_{n}", split="train" if n % 2 else "test", pathology="BENIGN" if n < 5 else "MALIGNANT")
    root = kaggle.finish()
    for frame, splits in (("image", {"test"}), ("lesion", {"train", "test"})):
        patches = {"frame": frame, "size": 32}
        given = small_study(root, images=SIZE, patches=patches, split={"rule": "official"})
        found = [i for i in build_samples(read_kaggle(root), root, given) if isinstance(i, Sample)]
        assert {each.split for each in found if each.patient == "P_1"} == splits


def test_the_second_file_stands_in_for_a_lost_first_one(kaggle: Kaggle) -> None:
    first = kaggle.case("P_1", kind="mass")
    kaggle.case("P_1", kind="calc")
    kaggle.case("P_2", pathology="BENIGN")
    root = kaggle.finish()
    kaggle.full_path(first).write_bytes(b"no picture")
    found, _ = cut(root)
    assert len(found[first].lesions) >= 1


def test_a_film_without_a_readable_annotation_says_so_and_is_left_out(kaggle: Kaggle) -> None:
    broken = kaggle.case("P_1", boxes=((20, 40, 60, 80), (100, 150, 140, 200)))
    half = kaggle.case("P_2", boxes=((20, 40, 60, 80), (100, 150, 140, 200)))
    kaggle.case("P_3", pathology="BENIGN")
    root = kaggle.finish()
    for path in (kaggle.mask_path(broken, 1), kaggle.mask_path(broken, 2), kaggle.mask_path(half, 2)):
        path.write_bytes(b"no picture")
    found, left = cut(root)
    assert broken not in found and len(found[half].lesions) == 1
    assert sum(each.reason == "mask_unreadable" for each in left) == 3


def test_a_lesion_smaller_than_a_pixel_of_the_mask_still_marks_one(kaggle: Kaggle) -> None:
    small = kaggle.case("P_1", boxes=((100, 150, 104, 154),))
    kaggle.case("P_2", pathology="BENIGN")
    found, _ = cut(kaggle.finish())
    mask = found[small].mask
    assert mask is not None and 1 <= mask.sum() <= 2
    assert mask[round(152 / 300 * 24 - 0.5), round(102 / 200 * 16 - 0.5)]


@pytest.mark.parametrize("size", [(200, 300), (300, 200)])
def test_padding_keeps_the_proportions(kaggle: Kaggle, size: tuple[int, int]) -> None:
    box = (60, 80, 120, 140)
    round_lesion = kaggle.case("P_1", boxes=(box,), size=size)
    kaggle.case("P_2", pathology="BENIGN", size=size)
    found, _ = cut(kaggle.finish(), images={"fit": "pad", "height": 128, "width": 128})
    film = found[round_lesion]
    x0, y0, x1, y1 = film.lesions[0].box
    assert x1 - x0 == pytest.approx(y1 - y0) and x1 - x0 == pytest.approx(60 / 300 * 128)
    assert film.mask is not None
    rows, columns = np.nonzero(film.mask)
    assert (columns.mean() + 0.5) * 4 == pytest.approx((x0 + x1) / 2, abs=2)
    assert (rows.mean() + 0.5) * 4 == pytest.approx((y0 + y1) / 2, abs=2)
    black = film.pixels[:, :15] if size == (200, 300) else film.pixels[:15]
    assert not black.any() and film.pixels[64, 64]


def test_a_black_film_counts_as_breast_whole_and_says_so(kaggle: Kaggle) -> None:
    dark = kaggle.case("P_1")
    kaggle.case("P_2", pathology="BENIGN")
    root = kaggle.finish()
    from PIL import Image

    Image.fromarray(np.zeros((300, 200), dtype=np.uint8)).save(kaggle.full_path(dark))
    found, left = cut(root)
    assert (dark, "breast_unclear") in reasons(left)
    breast = found[dark].breast
    assert breast is not None and breast.all()


def test_the_breast_is_the_largest_bright_part_without_holes() -> None:
    film = np.full((60, 40), 3, dtype=np.uint8)
    film[10:50, 0:25] = 120
    film[25:30, 5:10] = 0
    film[2:6, 32:38] = 255
    found = breast_mask(film)
    assert found is not None and found[27, 7] and not found[4, 35]
    assert found.sum() == pytest.approx(40 * 25, abs=12)
    assert breast_mask(np.zeros((60, 40), dtype=np.uint8)) is None
    assert breast_mask(np.full((60, 40), 90, dtype=np.uint8)) is None


def test_own_classes_are_named_malignant_or_refused(own: Own) -> None:
    for n in range(8):
        own.add("cancer" if n % 2 else "cyst", f"P{n}")
    root = own.finish()
    index = read_manifest(root)
    with pytest.raises(ValueError, match=r"data\.positive"):
        films(index)
    found = films(index, ("cancer",)).index
    assert [lesion.label for lesion in found.lesions[:2]] == ["BENIGN", "MALIGNANT"]
    assert found.digest != index.digest != films(index, ("cyst",)).index.digest


def test_two_exposures_of_one_view_are_two_films_of_own_data(phantom: Path) -> None:
    index = read_kaggle(phantom)
    image = replace(index.images[0], key="another", path="another.png")
    twice = replace(index, images=(*index.images, image))
    assert len(films(twice).index.images) == len(films(index).index.images)
    own = replace(twice, kind="manifest")
    assert len(films(own).index.images) == len(twice.images)


def test_the_films_of_the_real_case_files(case_files_only: Path) -> None:
    index = read_kaggle(case_files_only)
    found = films(index)
    assert (len(index.images), len(found.index.images), len(found.twins), len(found.crossing)) == (3103, 3032, 71, 29)
    malignant = {lesion.image_key for lesion in found.index.lesions if lesion.label == "MALIGNANT"}
    assert len(malignant) == 1347 and len(found.index.lesions) == 3568
    assert all(image.official_split == "test" for image in found.index.images if image.key in found.crossing)
    sound = crossing_patients(index)
    tested = {i.key for i in found.index.images if i.patient in sound or i.official_split == "test"}
    assert (len(found.index.images) - len(tested), len(tested)) == (2356, 676)
    assert (len(malignant - tested), len(malignant & tested)) == (1065, 282)
