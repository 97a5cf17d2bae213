"""The DICOM edition, in every tree that a download makes: real files, written by pydicom."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from lesionlens.config.data import BackgroundConfig
from lesionlens.datasets.cbis import read_dicom_edition, read_kaggle
from lesionlens.records import DatasetIndex, Exclusion, Sample
from lesionlens.samples.sample_set import build_samples
from tests.unit.files import Kaggle, damaged, small_study, write_dicom

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # readable names stand for series here


def edition(kaggle: Kaggle, root: Path, layout: str) -> Path:
    """The same data set as DICOM: images 16 bits deep, masks 8, in the tree of a downloader."""
    root.mkdir()
    shutil.copytree(kaggle.root / "csv", root / "csv")
    (root / "csv/dicom_info.csv").unlink()
    numbers: dict[str, int] = {}
    for row in kaggle.info:
        _, _, series, name = row["image_path"].split("/")
        numbers[series] = numbers.get(series, 0) + 1
        pixels: NDArray[np.uint8] = np.asarray(Image.open(kaggle.root / "jpeg" / series / name))
        tags = {name: row[name] for name in ("SeriesDescription", "PatientID")} | {"SeriesInstanceUID": series}
        deep = row["BitsAllocated"] == "16"
        if deep and numbers[series] == 1 and len(kaggle.info) % 2:
            tags["PhotometricInterpretation"] = "MONOCHROME1"
            pixels = 255 - pixels
        folder = {
            "long": f"CBIS-DDSM/{row['PatientID']}/07-20-2016-DDSM-NA-{series[:3]}/1.000000-{series}",
            "uids": f"CBIS-DDSM/{row['PatientID']}/study/{series}",
            "flat": f"{series}",
            "idc": f"cbis_ddsm/{row['PatientID']}/study/MG_{series}",
        }[layout]
        path = root / folder / f"1-{numbers[series]}.dcm"
        write_dicom(path, pixels.astype(np.uint16) * np.uint16(257) if deep else pixels, **tags)
    return root


def cut(index: DatasetIndex, root: Path) -> list[tuple[object, ...]]:
    study = small_study(root, background=BackgroundConfig(size=40, train=2, test=1, per_image=2))
    found = [s for s in build_samples(index, root, study) if isinstance(s, Sample)]
    return [(s.key, s.label, s.window, s.lesion_box, s.mask_fraction, s.pixels, s.mask) for s in found]


@pytest.fixture
def both(kaggle: Kaggle) -> Kaggle:
    kaggle.case("P_00001", boxes=((60, 80, 100, 110), (10, 10, 30, 40)))
    kaggle.case("P_00002", kind="calc", split="test", pathology="BENIGN")
    kaggle.case("P_00003", pathology="BENIGN_WITHOUT_CALLBACK")
    kaggle.case("P_00004", pathology="BENIGN_WITHOUT_CALLBACK", split="test")
    kaggle.finish()
    return kaggle


@pytest.mark.parametrize("layout", ["long", "uids", "flat", "idc"])
def test_every_tree_gives_the_same_patches_as_the_kaggle_edition(both: Kaggle, tmp_path: Path, layout: str) -> None:
    """16 bits that are 257 times 8 bits map back to them, so windows and pixels agree, up to one step of rounding."""
    root = edition(both, tmp_path / "dicom", layout)
    index = read_dicom_edition(root)
    assert (index.kind, index.exclusions) == ("cbis_dicom", ())
    expected, found = cut(read_kaggle(both.root), both.root), cut(index, root)
    assert [row[:5] for row in found] == [row[:5] for row in expected] and len(found) == 6
    for deep, flat in zip(found, expected, strict=True):
        assert np.abs(deep[5].astype(int) - flat[5]).max() <= 1  # type: ignore[attr-defined, operator]
        np.testing.assert_array_equal(deep[6], flat[6])


def test_the_digest_does_not_know_the_tree(both: Kaggle, tmp_path: Path) -> None:
    digests = {read_dicom_edition(edition(both, tmp_path / name, name)).digest for name in ("long", "uids", "idc")}
    assert len(digests) == 1


def test_crop_and_mask_in_one_series_under_one_description(both: Kaggle, tmp_path: Path) -> None:
    """TCIA's series descriptions are those of the series, not of the file: depth and pixels tell the two apart."""
    root = edition(both, tmp_path / "dicom", "long")
    for path in root.rglob("*.dcm"):
        dataset = dcmread(path)
        if dataset.SeriesDescription != "full mammogram images":
            dataset.SeriesDescription = "ROI mask images"
            dataset.BitsAllocated = dataset.BitsAllocated
            dataset.save_as(path)
    index = read_dicom_edition(root)
    assert index.exclusions == ()
    assert [row[:5] for row in cut(index, root)] == [row[:5] for row in cut(read_kaggle(both.root), both.root)]


def test_mask_and_crop_in_series_of_their_own(both: Kaggle, tmp_path: Path) -> None:
    row = both.rows["mass_train"][0]
    row[12] = row[12].replace("-1/", "-crop/")
    (both.info[1])["image_path"] = both.info[1]["image_path"].replace("-1/", "-crop/")
    series = both.root / "jpeg" / both.info[1]["image_path"].split("/")[2]
    series.mkdir()
    shutil.move(both.root / "jpeg" / series.name.replace("-crop", "-1") / "1-002.png", series)
    both.finish()
    index = read_dicom_edition(edition(both, tmp_path / "dicom", "flat"))
    assert index.exclusions == ()


def test_spoilt_or_missing_files_cost_their_own_lesions(both: Kaggle, tmp_path: Path) -> None:
    root = edition(both, tmp_path / "dicom", "uids")
    key = "Mass-Training_P_00001_LEFT_CC"
    (masks := sorted(root.rglob(f"{key}-*/*.dcm")))
    for path in masks:
        if "full" not in str(path) and path.parent.name.endswith("-2"):
            path.write_bytes(path.read_bytes()[:200])  # header lost: the folder still names the series
    for path in root.rglob("Calc-Test_P_00002_LEFT_CC-full/*.dcm"):
        path.unlink()
    index = read_dicom_edition(root)
    reasons = {e.lesion_key: e.reason for e in index.exclusions}
    assert reasons == {f"{key}_2": "mask_missing", "Calc-Test_P_00002_LEFT_CC_1": "image_missing"}
    items = list(build_samples(index, root, small_study(root)))
    assert {p.lesion_key for p in items if isinstance(p, Sample) and p.lesion_key} == {f"{key}_1"}
    assert {e.lesion_key for e in items if isinstance(e, Exclusion) and e.lesion_key} >= set(reasons)


def test_a_folder_without_case_files_or_without_dicom_is_named(both: Kaggle, tmp_path: Path) -> None:
    root = edition(both, tmp_path / "dicom", "flat")
    shutil.move(root / "csv", tmp_path / "csv")
    with pytest.raises(ValueError, match=r"holds no mass_case_description_train_set\.csv: put the four case files"):
        read_dicom_edition(root)
    (tmp_path / "empty").mkdir()
    shutil.move(tmp_path / "csv", tmp_path / "empty/csv")
    with pytest.raises(ValueError, match="holds no DICOM file"):
        read_dicom_edition(tmp_path / "empty")


@pytest.mark.filterwarnings("ignore")
def test_damaged_headers_and_names_cost_their_own_files(
    both: Kaggle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = edition(both, tmp_path / "dicom", "flat")
    (full,) = root.rglob("Calc-Test_P_00002_LEFT_CC-full/*.dcm")
    whole = full.read_bytes()
    full.rename(os.fsdecode(os.fsencode(full.parent) + b"/\xff.dcm"))
    (root / "circle.dcm").symlink_to(root / "circle.dcm")
    index = read_dicom_edition(root)
    assert index.exclusions == ()
    items = build_samples(index, root, small_study(root))
    reasons = {e.lesion_key: e.reason for e in items if isinstance(e, Exclusion)}
    assert reasons["Calc-Test_P_00002_LEFT_CC_1"] == "image_refused"
    assert r"udcff.dcm' is not a plain path in UTF-8" in caplog.text
    assert "circle.dcm: links in a circle" in caplog.text
    for n, data in enumerate(damaged(whole, 100)):
        (root / f"damaged-{n}").mkdir()
        (root / f"damaged-{n}/1.dcm").write_bytes(data)
    found = {e.lesion_key for e in read_dicom_edition(root).exclusions}
    assert found <= {"Calc-Test_P_00002_LEFT_CC_1"}  # several files say that they are its mammogram


def test_a_link_out_of_the_tree_is_not_followed(both: Kaggle, tmp_path: Path) -> None:
    root = edition(both, tmp_path / "dicom", "flat")
    (full,) = root.rglob("Calc-Test_P_00002_LEFT_CC-full/*.dcm")
    shutil.move(full, tmp_path / "outside.dcm")
    full.symlink_to(tmp_path / "outside.dcm")
    items = build_samples(read_dicom_edition(root), root, small_study(root))
    reasons = {e.lesion_key: e.reason for e in items if isinstance(e, Exclusion)}
    assert reasons["Calc-Test_P_00002_LEFT_CC_1"] == "image_refused"
