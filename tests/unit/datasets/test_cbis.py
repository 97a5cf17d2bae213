"""The Kaggle edition: tables, roles, joins, and what happens when they are spoilt."""

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lesionlens.config.data import DataConfig
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.case_files import read_case_files
from lesionlens.datasets.cbis import MARGINS
from lesionlens.datasets.cbis import read_kaggle as read_index
from lesionlens.datasets.cbis_files import read_dicom_info, role_of
from lesionlens.datasets.registry import read_index as read_any
from lesionlens.records import DatasetIndex, Exclusion, Sample
from lesionlens.samples.sample_set import build_samples
from tests.unit.files import Kaggle, small_study


def reasons(index: DatasetIndex) -> dict[str | None, str]:
    return {exclusion.lesion_key: exclusion.reason for exclusion in index.exclusions}


def test_real_rows_have_the_roles_that_their_headers_tell(real: Path) -> None:
    info = read_dicom_info(real / "csv/dicom_info_excerpt.csv", real)
    assert len(info) == 12
    by_name = {name.split("/")[1]: header for name, header in info.items()}
    assert by_name["2-204.jpg"].role == "mask"  # without description
    assert by_name["2-204.jpg"].size == (3104, 4560)
    assert by_name["2-242.jpg"].role == "crop" and by_name["1-241.jpg"].role == "mask"
    assert [header.role for header in info.values()].count("full") == 3


@pytest.mark.parametrize(
    ("description", "bits", "patient", "role"),
    [
        ("full mammogram images", "16", "", "full"),
        ("ROI mask images", "8", "", "mask"),
        ("", "8", "P_00562_LEFT_CC_2.dcm", "mask"),
        ("", "16", "P_00562_LEFT_CC_2.dcm", "crop"),
        ("", "16", "P_00562_LEFT_CC.dcm", "full"),
        ("cropped images", "8", "P_00562_LEFT_CC_2", None),
        ("ROI mask images", "16", "P_00562_LEFT_CC_2", None),
        ("", "", "", None),
    ],
)
def test_roles(description: str, bits: str, patient: str, role: str | None) -> None:
    assert role_of(description, bits, patient) == role


def test_a_whole_index(kaggle: Kaggle) -> None:
    key = kaggle.case("P_00001", boxes=((60, 80, 100, 110), (10, 10, 30, 40)))
    kaggle.case("P_00002", kind="calc", split="test", pathology="BENIGN", described=False)
    kaggle.case("P_00003", pathology="BENIGN_WITHOUT_CALLBACK")
    index = read_index(kaggle.finish())
    assert index.exclusions == ()
    assert [i.key for i in index.images] == [
        "Mass-Training_P_00001_LEFT_CC", "Mass-Training_P_00003_LEFT_CC", "Calc-Test_P_00002_LEFT_CC",
    ]  # fmt: skip
    assert [(lesion.key, lesion.label) for lesion in index.lesions] == [
        (f"{key}_1", "MM"), (f"{key}_2", "MM"), ("Mass-Training_P_00003_LEFT_CC_1", None),
        ("Calc-Test_P_00002_LEFT_CC_1", "BC"),
    ]  # fmt: skip
    assert index.images[0].path == f"jpeg/{key}-full/1-001.png"
    assert index.lesions[1].mask_path == f"jpeg/{key}-2/2-003.png"
    assert (index.images[0].laterality, index.images[0].view, index.images[0].breast_density) == ("LEFT", "CC", 2)


def test_margins_as_classes(kaggle: Kaggle) -> None:
    """Of one margin alone; what is broken otherwise keeps its own reason, and no image gives background."""
    words = ("CIRCUMSCRIBED", "ILL_DEFINED", "SPICULATED", "ILL_DEFINED-SPICULATED", "N/A", "SPICULATED")
    keys = [kaggle.case(f"P_0000{n}", pathology="BENIGN") for n in range(len(words))]
    for row, word in zip(kaggle.rows["mass_train"], words, strict=True):
        row[7] = word
    calc = kaggle.case("P_00009", kind="calc", pathology="BENIGN_WITHOUT_CALLBACK")
    root = kaggle.finish()
    kaggle.mask_path(keys[5]).unlink()
    own, index = (read_any(DataConfig(root=root, classes=classes), root) for classes in ("own", "margins"))
    assert own.digest != index.digest and {image.background for image in index.images} == {None}
    assert [label.code for label in index.labels] == ["CM", "IM", "SM"]
    assert [lesion.label for lesion in index.lesions] == ["CM", "IM", "SM", None, None, "SM", None]
    items = list(build_samples(index, root, small_study(root, split={"rule": "given", "group": "patch"})))
    assert {e.lesion_key: (e.reason, e.detail) for e in items if isinstance(e, Exclusion)} == {
        f"{keys[3]}_1": ("no_margin_class", "ILL_DEFINED-SPICULATED"),
        f"{keys[4]}_1": ("no_margin_class", "N/A"),
        f"{calc}_1": ("no_margin_class", "calcification"),
        f"{keys[5]}_1": ("mask_missing", index.exclusions[0].detail),
    }
    assert {item.label for item in items if isinstance(item, Sample)} == {"CM", "IM", "SM"}


def test_margins_of_the_real_case_files(real: Path) -> None:
    rows = read_case_files(real / "csv", real)
    found = Counter(MARGINS.get(row.margins or "") for row in rows if row.kind == "mass")
    assert found == {"CM": 392, "IM": 370, "SM": 363, None: 1696 - 1125}


def test_margins_that_no_case_file_names_are_asked_for(kaggle: Kaggle) -> None:
    kaggle.case("P_00001", kind="calc")
    root = kaggle.finish()
    with pytest.raises(ValueError, match="no lesion has a margin"):
        read_any(DataConfig(root=root, classes="margins"), root)
    for wrong in ({"data": {"root": root, "source": "coco", "classes": "margins"}},
                  {"data": {"root": root, "classes": "margins"}, "patches": {"per": "image"}}):  # fmt: skip
        with pytest.raises(ValueError, match=r"data\.classes margins"):
            StudyConfig.model_validate(wrong)


def test_the_digest_knows_content_and_not_the_place(kaggle: Kaggle, tmp_path: Path) -> None:
    key = kaggle.case("P_00001")
    root = kaggle.finish()
    first = read_index(root)
    shutil.copytree(root, tmp_path / "other/archive/CBIS-DDSM")
    moved = read_index(tmp_path / "other")
    assert moved.digest == first.digest
    assert moved.images[0].path == f"archive/CBIS-DDSM/{first.images[0].path}"
    kaggle.mask_path(key).write_bytes(kaggle.mask_path(key).read_bytes() + b"\0")
    assert read_index(root).digest != first.digest


def test_missing_files_are_recorded(kaggle: Kaggle) -> None:
    whole, no_image, no_mask, no_series = (kaggle.case(f"P_0000{n}") for n in range(4))
    root = kaggle.finish()
    kaggle.full_path(no_image).unlink()
    kaggle.mask_path(no_mask).unlink()
    shutil.rmtree(root / f"jpeg/{no_series}-1")
    index = read_index(root)
    assert reasons(index) == {
        f"{no_image}_1": "image_missing",
        f"{no_mask}_1": "mask_missing",
        f"{no_series}_1": "mask_missing",
    }
    assert {i.key for i in index.images} == {whole, no_image, no_mask, no_series}


@pytest.mark.parametrize("spoil", ["undescribed file", "swapped descriptions", "sizes contradict", "two rows"])
def test_the_pictures_decide_where_the_table_does_not(kaggle: Kaggle, spoil: str) -> None:
    key = kaggle.case("P_00001")
    full, crop, mask = kaggle.info
    if spoil == "undescribed file":
        kaggle.info[:] = [full]
    elif spoil == "swapped descriptions":
        crop["SeriesDescription"], mask["SeriesDescription"] = mask["SeriesDescription"], crop["SeriesDescription"]
    elif spoil == "two rows":
        other = {name: full[name] for name in ("SeriesDescription", "BitsAllocated")}
        kaggle.info += [mask | other, mask | {"image_path": crop["image_path"]}]
    else:
        for column in ("SeriesDescription", "BitsAllocated"):
            crop[column], mask[column] = mask[column], crop[column]
    index = read_index(kaggle.finish())
    assert index.exclusions == ()
    assert index.lesions[0].mask_path == f"jpeg/{key}-1/2-003.png"


def test_mask_and_crop_in_series_of_their_own(kaggle: Kaggle) -> None:
    """Both are called 000000 in the case file then; a swapped pair of paths is found by the roles."""
    key = kaggle.case("P_00001")
    row = kaggle.rows["mass_train"][0]
    (kaggle.root / "jpeg/apart").mkdir()
    (kaggle.root / f"jpeg/{key}-1/1-002.png").rename(kaggle.root / "jpeg/apart/1-002.png")
    kaggle.info[1]["image_path"] = "CBIS-DDSM/jpeg/apart/1-002.png"
    for crop, mask in (("apart", f"{key}-1"), (f"{key}-1", "apart")):
        row[12], row[13] = f"c/s/{crop}/000000.dcm", f"c/s/{mask}/000000.dcm\n"
        index = read_index(kaggle.finish())
        assert (index.exclusions, index.lesions[0].mask_path) == ((), f"jpeg/{key}-1/2-003.png")


def test_untrusted_paths_are_refused_one_by_one(kaggle: Kaggle) -> None:
    keys = [kaggle.case(f"P_0000{n}") for n in range(4)]
    rows = kaggle.rows["mass_train"]
    rows[0][11] = f"../{rows[0][11]}"
    rows[1][13] = "/etc/study/series/000001.dcm"
    rows[2][13] = "case/study/../000001.dcm"
    index = read_index(kaggle.finish())
    assert reasons(index) == dict.fromkeys((f"{key}_1" for key in keys[:3]), "path_refused")


def test_a_series_folder_linked_from_elsewhere_is_refused(kaggle: Kaggle, tmp_path: Path) -> None:
    key = kaggle.case("P_00001")
    root = kaggle.finish()
    shutil.move(root / f"jpeg/{key}-1", tmp_path / "elsewhere")
    (root / f"jpeg/{key}-1").symlink_to(tmp_path / "elsewhere")
    assert reasons(read_index(root)) == {f"{key}_1": "mask_refused"}
    shutil.move(root / "jpeg", tmp_path / "jpeg")
    (root / "jpeg").symlink_to(tmp_path / "jpeg")
    with pytest.raises(ValueError, match="link that leaves"):
        read_index(root)


def test_a_name_that_is_not_utf8_costs_its_own_lesion(kaggle: Kaggle) -> None:
    """The record holds UTF-8; what can't be written down there must not end the study."""
    image, mask, whole = (kaggle.case(f"P_0000{n}") for n in range(3))
    root = kaggle.finish()
    for path in (kaggle.full_path(image), kaggle.mask_path(mask)):
        path.rename(os.fsdecode(os.fsencode(path.parent) + b"/\xff.png"))
    index = read_index(root)
    assert all((i.path + str(index.digest)).encode() for i in index.images)
    items = build_samples(index, root, small_study(root))
    left_out = {e.lesion_key: e.reason for e in items if isinstance(e, Exclusion)}
    assert left_out == {f"{image}_1": "image_refused", f"{mask}_1": "mask_missing"}
    assert f"{whole}_1" in {lesion.key for lesion in index.lesions}


def test_links_to_nothing_and_folders_closed_to_us_cost_their_own_lesions(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    circle, nothing, closed = (kaggle.case(f"P_0000{n}") for n in range(3))
    root = kaggle.finish()
    for path, target in ((kaggle.full_path(circle), kaggle.full_path(circle)), (kaggle.full_path(nothing), root / "x")):
        path.unlink()
        path.symlink_to(target)
    look = os.scandir

    def guarded(place: Path) -> object:
        if place.name == f"{closed}-1":
            raise PermissionError(13, "Permission denied")
        return look(place)

    monkeypatch.setattr(os, "scandir", guarded)
    index = read_index(root)
    monkeypatch.undo()
    items = build_samples(index, root, small_study(root))
    left_out = {e.lesion_key: e.reason for e in items if isinstance(e, Exclusion)}
    assert left_out == {
        f"{circle}_1": "image_unreadable", f"{nothing}_1": "image_missing", f"{closed}_1": "mask_unreadable",
    }  # fmt: skip


def test_spoilt_tables_stop_everything_with_file_line_and_remedy(kaggle: Kaggle) -> None:
    kaggle.case("P_00001")
    kaggle.case("P_00002", kind="calc")
    kaggle.finish()
    table = kaggle.table("calc_train")
    good = table.read_bytes()

    def complaint(data: bytes) -> str:
        table.write_bytes(data)
        with pytest.raises(ValueError) as error:
            read_index(kaggle.root)
        assert str(table) in str(error.value)
        return str(error.value)

    row = good.split(b"\r\n", 1)[1]
    assert "no column 'breast density'" in complaint(good.replace(b"breast density", b"density"))
    assert "line 3" in complaint(good.replace(b"MALIGNANT", b"MALIGN")) and "correct" in complaint(
        good.replace(b"MALIGNANT", b"?")
    )
    assert "again, after" in complaint(good + row)
    assert "not UTF-8" in complaint(good.replace(b"N/A", b"\xe9", 1))
    assert "image view is 'XX'" in complaint(good.replace(b",CC,", b",XX,"))
    assert "2 fields, but 14 columns" in complaint(good + b"P_00009,2\r\n")
    assert "abnormality id is 'one'" in complaint(good.replace(b",CC,1,", b",CC,one,"))
    assert "missing" in str(_without(kaggle, table))


def _without(kaggle: Kaggle, table: Path) -> ValueError:
    table.unlink()
    with pytest.raises(ValueError) as error:
        read_index(kaggle.root)
    return error.value


def test_a_folder_without_the_data_set_or_with_two_is_named(kaggle: Kaggle, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="holds no csv/ and jpeg/"):
        read_index(empty)
    kaggle.case("P_00001")
    for name in ("a", "b"):
        shutil.copytree(kaggle.finish(), empty / name)
    with pytest.raises(ValueError, match="holds 2 data sets"):
        read_index(empty)


def test_an_empty_mask_is_still_a_mask_by_its_looks(kaggle: Kaggle) -> None:
    key = kaggle.case("P_00001")
    kaggle.info[:] = kaggle.info[:1]
    kaggle.picture(f"{key}-1", "2-003.png", np.zeros((300, 200), np.uint8), "mask", key)
    kaggle.info[:] = kaggle.info[:1]
    assert read_index(kaggle.finish()).lesions[0].mask_path == f"jpeg/{key}-1/2-003.png"
