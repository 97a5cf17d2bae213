"""COCO JSON as detection tools export it: real entries, boxes and polygons, and what can't be read."""

import json
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesionlens.config.data import BackgroundConfig, DataConfig
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.coco import read_coco
from lesionlens.datasets.registry import read_index, recognise, resolve_source
from lesionlens.records import Box, Exclusion, Sample
from lesionlens.samples.sample_set import build_samples
from lesionlens.samples.splits import SplitCheck
from tests.unit.files import small_study

pytestmark = pytest.mark.usefixtures("one_process")
REAL = Path(__file__).parents[2] / "cases/train.coco.json"
CATEGORIES = [{"id": 0, "name": "findings"}, {"id": 1, "name": "cyst"}, {"id": 2, "name": "nodule"}]


def picture(path: Path, size: tuple[int, int] = (80, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name) + sum(path.name.encode())).integers(60, 200, size[::-1])
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def export(root: Path, name: str = "instances_default.json", count: int = 12, **more: Any) -> dict[str, Any]:
    """Images of two classes in turn, each with the box 20, 10 to 40, 30, and three images without."""
    images = [{"id": n, "file_name": f"{n}.png", "width": 80, "height": 60, **more} for n in range(count + 3)]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [20, 10, 20, 20], "segmentation": [], "iscrowd": 0}
        for n in range(count)
    ]
    for n in range(count + 3):
        picture(root / f"{n}.png")
    coco = {"info": {}, "categories": CATEGORIES, "images": images, "annotations": annotations}
    write(root, coco, name)
    return coco


def write(root: Path, coco: dict[str, Any], name: str = "instances_default.json") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(coco))


def study(root: Path) -> StudyConfig:
    return small_study(root, background=BackgroundConfig(size=20, train=3, test=3, per_image=3))


def cut(root: Path) -> tuple[list[Sample], Counter[str]]:
    config = resolve_source(study(root))
    items = list(build_samples(read_index(config.data, root), root, config))
    reasons = Counter(e.reason for e in items if isinstance(e, Exclusion))
    return [i for i in items if isinstance(i, Sample) and i.lesion_key], reasons


def test_real_boxes_of_cbis_ddsm(tmp_path: Path) -> None:
    """One of them is known: the film's real mask, scaled, lies at 71.4, 403.0 and is 103.4 x 79.0 wide."""
    shutil.copy(REAL, tmp_path / "train.coco.json")
    for name in ("00001_LEFT_CC", "00001_LEFT_MLO", "00004_LEFT_CC"):
        picture(tmp_path / f"images/train_{name}.jpg", (800, 800))
    real = json.loads(REAL.read_text())
    write(
        tmp_path, real | {"images": [real["images"][0] | {"file_name": "9.jpg"}], "annotations": []}, "test.coco.json"
    )
    picture(tmp_path / "9.jpg", (800, 800))
    index = read_coco(tmp_path)
    assert (len(index.images), len(index.lesions), index.exclusions) == (4, 3, ())
    assert Counter(image.official_split for image in index.images) == {"train": 3, "test": 1}
    assert [label.code for label in index.labels] == ["no lesion", "Mass"]
    known = next(x for x in index.lesions if x.image_key == "images/train_00001_LEFT_CC.jpg")
    assert known.outline is not None and known.outline.size == (800, 800)
    (x0, y0), _, (x1, y1), _ = known.outline.polygons[0]
    assert (x0, y0, x1 - x0, y1 - y0) == pytest.approx((71.4, 403.0, 103.4, 79.0), abs=2.5)


def test_classes_windows_and_names_of_an_export(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    export(tmp_path)
    assert recognise(tmp_path) == "coco"
    with caplog.at_level(logging.WARNING):
        index = read_index(DataConfig(source="coco", root=tmp_path), tmp_path)
    assert "has no patients.csv" in caplog.text and index.name == tmp_path.name
    assert [(x.code, x.is_lesion) for x in index.labels] == [("no lesion", False), ("cyst", True), ("nodule", True)]
    samples, reasons = cut(tmp_path)
    assert [s.lesion_box for s in samples] == [Box(20, 10, 40, 30)] * 12 and not reasons
    (tmp_path / "patients.csv").write_text("image,patient\n" + "".join(f"{n}.png,p{n // 2}\n" for n in range(15)))
    caplog.clear()
    assert {i.patient for i in read_coco(tmp_path).images} == {f"p{n}" for n in range(8)} and not caplog.text
    (tmp_path / "patients.csv").write_text("image,patient\n0.png,a\n0.png,b\n")
    with pytest.raises(ValueError, match=r"patients\.csv line 3: 0\.png has no patient, or another"):
        read_coco(tmp_path)


@pytest.mark.parametrize("field", ["patient", "patient_id", "PatientID"])
def test_patients_may_stand_in_the_images(tmp_path: Path, field: str) -> None:
    coco = export(tmp_path, **{field: 7})
    assert {image.patient for image in read_coco(tmp_path).images} == {"7"}
    coco["images"][0][field] = "07"
    write(tmp_path, coco)
    with pytest.raises(ValueError, match="patient '7' looks like '07'"):
        read_coco(tmp_path)


def test_polygons_mark_what_they_enclose_and_rle_is_refused_by_name(tmp_path: Path) -> None:
    coco = export(tmp_path)
    coco["annotations"][0] |= {"segmentation": [[20, 10, 60, 10, 20, 50], [70, 50, 74, 50, 74, 54, 70, 54]]}
    coco["annotations"][1] |= {"segmentation": {"counts": "abc", "size": [60, 80]}, "iscrowd": 1}
    coco["annotations"][2] |= {"segmentation": [[1, 2, 3]]}
    coco["annotations"][3] |= {"segmentation": None, "bbox": None}
    coco["annotations"][4] |= {"bbox": [20, 10, 20]}
    coco["annotations"][5] |= {"bbox": [20, 10, -4, 20]}
    coco["annotations"][6] |= {"bbox": [70, 10, 40, 20]}
    coco["annotations"][9] |= {"bbox": [0.25, 0.2, 0.25, 0.3]}  # proportions
    coco["annotations"][10] |= {"segmentation": [[0.25, 0.2, 0.5, 0.2, 0.5, 0.5]]}
    coco["images"][7] |= {"width": 60, "height": 80}
    coco["images"][8] |= {"width": 160, "height": 120}
    write(tmp_path, coco)
    samples, reasons = cut(tmp_path)
    assert reasons == {"mask_unreadable": 4, "mask_missing": 1, "mask_shape": 2, "mask_ambiguous": 2}
    boxes = {s.image_key: s.lesion_box for s in samples}
    assert boxes["0.png"] == Box(20, 10, 74, 54) and boxes["8.png"] == Box(10, 5, 20, 15)
    rle = next(e for e in read_coco(tmp_path).exclusions if e.image_key == "1.png")
    assert "RLE" in rle.detail


def test_folders_and_names_tell_the_split(tmp_path: Path) -> None:
    for n, folder in enumerate(("train", "valid", "test")):
        export(tmp_path / folder, "_annotations.coco.json", count=2 + n)
    index = read_coco(tmp_path)
    assert Counter(i.official_split for i in index.images) == {"train": 5, "validation": 6, "test": 7}
    assert index.exclusions == () and index.images[0].path.startswith("test/")
    (tmp_path / "test/_annotations.coco.json").unlink()
    with pytest.raises(ValueError, match="split is test"):
        read_coco(tmp_path)
    write(tmp_path, {"images": [], "annotations": [], "categories": []}, "test/instances.json")
    with pytest.raises(ValueError, match="split is test"):
        read_coco(tmp_path)


def test_a_name_in_several_folders_is_not_guessed(tmp_path: Path) -> None:
    export(tmp_path)
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").unlink()
    picture(tmp_path / "a/0.png")
    picture(tmp_path / "b/0.png")
    picture(tmp_path / "b/1.png")
    index = read_coco(tmp_path)
    assert [(e.image_key, e.reason) for e in index.exclusions] == [("0.png", "image_ambiguous")]
    assert {"b/1.png"} < {image.key for image in index.images}


@pytest.mark.parametrize("name", ["/etc/hostname", "../x.png", "a\\..\\..\\x.png"])
def test_files_outside_cost_their_own_sample(tmp_path: Path, name: str) -> None:
    coco = export(tmp_path)
    coco["images"][0]["file_name"] = name
    write(tmp_path, coco)
    assert [(e.image_key, e.reason) for e in read_coco(tmp_path).exclusions] == [(name, "image_refused")]


def test_files_that_cannot_be_trusted_stop_everything(tmp_path: Path) -> None:
    coco = export(tmp_path)

    def complaint(**parts: Any) -> str:
        write(tmp_path, coco | parts)
        with pytest.raises(ValueError) as error:
            read_coco(tmp_path)
        return str(error.value)

    image, annotation = coco["images"][0], coco["annotations"][0]
    assert "two images have the same id" in complaint(images=[*coco["images"], image])
    assert "is in two entries" in complaint(images=[*coco["images"], image | {"id": 99}])
    assert "annotation 5 is of image 77" in complaint(annotations=[annotation | {"id": 5, "image_id": 77}])
    again = [*coco["annotations"], annotation | {"id": 98}]
    assert "has the same annotation twice" in complaint(annotations=again)
    assert "of category 9" in complaint(annotations=[annotation | {"category_id": 9}])
    assert "no COCO file has an annotation" in complaint(annotations=[])
    assert "looks like" in complaint(categories=[*CATEGORIES[:2], {"id": 2, "name": "CYST"}])
    assert "two categories have the same id" in complaint(categories=[*CATEGORIES, {"id": 1, "name": "mass"}])
    named = [*CATEGORIES[:2], {"id": 2, "name": "no lesion"}]
    assert "'no lesion' has annotations" in complaint(categories=named)
    assert "images.0.file_name" in complaint(images=[{"id": 1}])
    assert "export it again" in complaint(images={})
    (tmp_path / "instances_default.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="export it again as COCO JSON"):
        read_coco(tmp_path)
    (tmp_path / "instances_default.json").unlink()
    with pytest.raises(ValueError, match="holds no COCO file"):
        read_coco(tmp_path)


def test_one_class_is_no_study(tmp_path: Path) -> None:
    coco = export(tmp_path)
    coco["images"] = coco["images"][:12]
    coco["annotations"] = [a | {"category_id": 1} for a in coco["annotations"]]
    write(tmp_path, coco)
    with pytest.raises(ValueError, match="one class, cyst: a study needs two"):
        SplitCheck(read_coco(tmp_path)).require_samples()
