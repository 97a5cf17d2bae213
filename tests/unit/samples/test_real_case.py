"""The real mammogram and its real mask, by the same reader and patch code as everything else."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lesionlens.config.data import SplitConfig
from lesionlens.datasets.cbis import read_kaggle as read_index
from lesionlens.records import Box, Exclusion, ImageSize, Overview, Sample
from lesionlens.samples.sample_set import build_samples
from tests.unit.files import small_study

KEY = "Mass-Training_P_00001_LEFT_CC"


@pytest.fixture
def one_case(real: Path, tmp_path: Path) -> Path:
    """The case in the Kaggle layout: its real row, real dicom_info rows (of other files), mammogram, crop and mask."""
    (tmp_path / "csv").mkdir()
    for path in (real / "csv").glob("*_case_description_*_set.csv"):
        header, first = path.read_bytes().split(b"\r\n", 2)[:2]
        kept = header + b"\r\n" + (first + b"\r\n" if path.name.startswith("mass_case_description_train") else b"")
        (tmp_path / "csv" / path.name).write_bytes(kept)
    shutil.copy(real / "csv/dicom_info_excerpt.csv", tmp_path / "csv/dicom_info.csv")
    with (tmp_path / "csv/mass_case_description_train_set.csv").open(newline="") as table:
        (row,) = csv.DictReader(table)
    assert row["ROI mask file path"].endswith("\n")
    image, mask = (row[f"{name} file path"].split("/")[2] for name in ("image", "ROI mask"))
    for series in (image, mask):
        (tmp_path / "jpeg" / series).mkdir(parents=True)
    shutil.copy(real / f"images/{KEY}_0.jpg", tmp_path / f"jpeg/{image}/1-249.jpg")
    shutil.copy(real / f"images/{KEY}_1_0.jpg", tmp_path / f"jpeg/{mask}/1-016.jpg")
    full = Image.open(real / f"images/{KEY}_0.jpg")
    full.crop((150, 2400, 550, 2880)).save(tmp_path / f"jpeg/{mask}/2-017.jpg")
    return tmp_path


def test_the_real_case_gives_the_patch_that_its_mask_tells(real: Path, one_case: Path) -> None:
    index = read_index(one_case)
    assert index.exclusions == ()
    assert [lesion.label for lesion in index.lesions] == ["MM"]
    assert index.lesions[0].mask_path is not None and index.lesions[0].mask_path.endswith("/1-016.jpg")
    study = small_study(one_case, patches={"size": 224}, split=SplitConfig(rule="official", group="patch"))
    items = list(build_samples(index, one_case, study))
    assert [type(item) for item in items if not isinstance(item, Exclusion)] == [ImageSize, Sample, Overview]
    size, patch, whole = items[:3]
    assert isinstance(patch, Sample) and isinstance(whole, Overview)
    assert isinstance(size, ImageSize) and (size.width, size.height) == (3024, 4808)
    assert whole.pixels.shape == (320, 201)

    mask = np.asarray(Image.open(real / f"images/{KEY}_1_0.jpg")) > 127
    parts, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    assert sorted(sizes)[-2] <= 3  # JPEG left eleven specks, 15 pixels in all, beside a lesion of 120,546
    mask = parts == 1 + sizes.argmax()
    y, x = np.nonzero(mask)
    box = Box(int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1)
    assert patch.lesion_box == box
    window = patch.window
    # Three boxes wide and high around the median pixel; on the left the image ends first.
    height, width = mask.shape
    left, top = np.median(x) + 0.5 - 1.5 * box.width, np.median(y) + 0.5 - 1.5 * box.height
    assert window.x0 == 0 > left and abs(window.x1 - left - 3 * box.width) <= 0.5 and window.x1 <= width
    assert abs(window.y0 - top) <= 0.5
    assert window.height == 3 * box.height and window.y1 <= height
    assert patch.mask_fraction == pytest.approx(mask.sum() / (window.width * window.height))
    assert patch.mask is not None and patch.mask.mean() == pytest.approx(patch.mask_fraction, abs=0.003)

    pixels = Image.open(real / f"images/{KEY}_0.jpg")
    inside = pixels.crop((window.x0, window.y0, window.x1, window.y1))
    assert patch.pixels.mean() == pytest.approx(np.asarray(inside).mean(), abs=0.6)
    expected = inside.resize((224, 224), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(patch.pixels, np.asarray(expected))
    assert (patch.key, patch.label, patch.patient) == (f"{KEY}_1", "MM", "P_00001")
