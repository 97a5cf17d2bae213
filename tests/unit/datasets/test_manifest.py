"""Anyone's own images: the table, what is refused, and patches of classes that nobody knew before."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lesionlens.config.data import DataConfig, SplitConfig
from lesionlens.datasets.manifest import read_manifest
from lesionlens.datasets.registry import read_index as read_any
from lesionlens.records import Box, Exclusion, Overview, Sample
from lesionlens.samples.sample_set import build_samples
from lesionlens.samples.splits import SplitCheck
from tests.unit.files import Own


def complaint(own: Own) -> str:
    with pytest.raises(ValueError) as error:
        read_manifest(own.root)
    return str(error.value)


def test_classes_follow_from_the_rows(own: Own) -> None:
    own.add("nodule", "p1", side="left", view="top", split="train")
    own.add("cyst", "p1", split="train")
    own.add("normal", "p2", mask=False, split="validation")
    own.add("cyst", "p3", split="test", lesion="upper")
    index = read_manifest(own.finish())
    assert [(x.code, x.name, x.group, x.ordinal, x.is_lesion) for x in index.labels] == [
        ("normal", "normal", "normal", 0, False), ("cyst", "cyst", "cyst", 1, True),
        ("nodule", "nodule", "nodule", 2, True),
    ]  # fmt: skip
    assert [(i.key, i.patient, i.official_split, i.background) for i in index.images] == [
        ("images/0.png", "p1", "train", None), ("images/1.png", "p1", "train", None),
        ("images/2.png", "p2", "validation", "normal"), ("images/3.png", "p3", "test", None),
    ]  # fmt: skip
    assert (index.images[0].laterality, index.images[0].view) == ("left", "top")
    assert [(x.key, x.label, x.mask_path) for x in index.lesions] == [
        ("images/0.png#1", "nodule", "masks/0.png"), ("images/1.png#1", "cyst", "masks/1.png"),
        ("images/3.png#upper", "cyst", "masks/3.png"),
    ]  # fmt: skip
    assert (index.kind, index.name, index.exclusions) == ("manifest", "manifest", ())


def test_parquet_says_the_same_as_csv(own: Own) -> None:
    for n in range(3):
        own.add(("a", "b", "c")[n], str(n), mask=n > 0)
    root = own.finish()
    text, csv = pl.read_csv(root / "manifest.csv"), read_manifest(root)
    (root / "manifest.csv").unlink()
    path = root / "manifest.parquet"
    nothing = pl.Series("lesion", [float("nan")] * 3)
    for table in (text.with_columns(pl.col("patient").cast(pl.Int64)), text.with_columns(nothing)):
        table.write_parquet(path)
        parquet = read_manifest(root)
        assert (csv.images, csv.lesions, csv.labels) == (parquet.images, parquet.lesions, parquet.labels)
    path.write_bytes(b"PAR1")
    assert "no whole Parquet" in complaint(own)
    text.drop("mask").write_parquet(path)
    assert "no column 'mask'" in complaint(own)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "dcm"])
def test_every_kind_of_file_gives_the_same_windows(own: Own, kind: str) -> None:
    own.add("cyst", "p1", kind=kind, box=(60, 80, 100, 110))
    own.add("nodule", "p2", kind=kind, box=(20, 30, 70, 60))
    config = own.study(split=SplitConfig(test=0.5))
    items = list(build_samples(read_manifest(own.finish()), own.root, config))
    patches = {p.label: p for p in items if isinstance(p, Sample)}
    assert {code: p.lesion_box for code, p in patches.items()} == {
        "cyst": Box(60, 80, 100, 110), "nodule": Box(20, 30, 70, 60),
    }  # fmt: skip
    pixels = own.pixels[0]
    assert patches["cyst"].pixels.mean() == pytest.approx(pixels[50:140, 20:140].mean(), abs=1.5)
    assert {i.image_key for i in items if isinstance(i, Overview)} == {f"images/{n}.{kind}" for n in (0, 1)}


def test_a_whole_data_set_of_own_classes(own: Own) -> None:
    """Two classes with lesions, two without, no parts: whole patients are split, nothing leaks."""
    for n in range(30):
        own.add(("cyst", "nodule", "scar")[n % 3], f"p{n // 2}")
        own.add(("clear", "fatty")[n % 2], f"q{n // 2}", mask=False)
    index = read_manifest(own.finish())
    items = list(build_samples(index, own.root, own.study()))
    patches = [p for p in items if isinstance(p, Sample)]
    assert [i for i in items if isinstance(i, Exclusion)] == []
    assert Counter(p.label for p in patches) == {"cyst": 10, "nodule": 10, "scar": 10, "clear": 9, "fatty": 9}
    for label in ("clear", "fatty"):
        assert Counter(p.split == "test" for p in patches if p.label == label) == {False: 6, True: 3}
    overlap = SplitCheck(index)
    for patch in patches:
        overlap.add(patch)
    assert {check.shared for check in overlap.leaks()} == {0}
    assert {p.split for p in patches} == {"train", "validation", "test"}


def test_missing_and_refused_files_cost_their_own_sample(own: Own, tmp_path: Path) -> None:
    for n in range(6):
        own.add("cyst" if n % 2 else "nodule", f"p{n}")
    own.add("normal", "p9", mask=False)
    (own.root / "images/0.png").unlink()
    (own.root / "masks/1.png").unlink()
    own.rows[2]["image"] = "../images/2.png"
    own.rows[3]["mask"] = "/etc/passwd"
    Image.new("L", (9, 9)).save(tmp_path / "elsewhere.png")
    (own.root / "masks/4.png").unlink()
    (own.root / "masks/4.png").symlink_to(tmp_path / "elsewhere.png")
    own.rows[5]["mask"] = ""
    (own.root / "images/6.png").unlink()
    index = read_manifest(own.finish())
    assert [(e.image_key, e.lesion_key, e.reason) for e in index.exclusions] == [
        ("images/0.png", "images/0.png#1", "image_missing"),
        ("images/1.png", "images/1.png#1", "mask_missing"),
        ("../images/2.png", "../images/2.png#1", "image_refused"),
        ("images/3.png", "images/3.png#1", "mask_refused"),
        ("images/4.png", "images/4.png#1", "mask_refused"),
        ("images/5.png", "images/5.png#1", "mask_missing"),
        ("images/6.png", None, "image_missing"),
    ]
    items = list(build_samples(index, own.root, own.study()))
    assert not any(isinstance(item, Sample) for item in items)
    assert {(e.lesion_key or e.image_key) for e in items if isinstance(e, Exclusion)} >= {
        lesion.key for lesion in index.lesions
    } | {"images/6.png"}


def test_rows_that_cannot_be_trusted_stop_everything(own: Own) -> None:
    for n in range(4):
        own.add(("cyst", "nodule")[n % 2], f"p{n}", split="train")
    own.add("normal", "p8", mask=False, split="test")
    own.finish()
    good = [dict(row) for row in own.rows]

    def spoilt(n: int, **values: str) -> str:
        own.rows[:] = [dict(row) for row in good]
        own.rows[n] |= values
        own.finish()
        return complaint(own)

    assert "line 2: label is empty" in spoilt(0, label="")
    assert "line 3: patient is empty" in spoilt(1, patient=" ")
    assert "line 3: split is 'dev', not one of train, validation, test" in spoilt(1, split="dev")
    assert "line 4: split is filled in some rows only" in spoilt(2, split="")
    assert "no row's split is test" in spoilt(4, split="train")
    own.rows[:] = [row | {"split": "test"} for row in good]
    own.finish()
    assert "no row's split is train" in complaint(own)
    assert "line 3: images/0.png contradicts" in spoilt(1, image="images/0.png", mask="masks/9.png")
    assert "line 3: images/0.png contradicts" in spoilt(1, image="./images//0.png", mask="masks/9.png")
    assert "line 6: images/0.png contradicts" in spoilt(4, image="images/0.png", patient="p0", split="train")
    assert "there twice" in spoilt(1, image="images/0.png", patient="p0", mask="masks/0.png", label="cyst")
    own.rows[:] = [good[0], good[2]]
    own.finish()
    assert "1 classes" in complaint(own)
    own.rows[:] = [row | {"mask": ""} for row in good]
    own.finish()
    assert "0 of them with masks" in complaint(own)
    path = own.root / "manifest.csv"
    path.write_bytes(b"image,mask,label\na,b,c\n")
    assert "no column 'patient'" in complaint(own)
    path.write_bytes(b"image,mask,label,patient,label\na,b,c,p,d\n")
    assert "column 'label' twice" in complaint(own)
    path.write_bytes(b"image,mask,label,patient\na,b,\xe9,p\n")
    assert "not UTF-8" in complaint(own)
    path.write_bytes(b"image,mask,label,patient\na,b\0,c,p\n")
    assert "NUL" in complaint(own)
    path.unlink()
    assert "is missing" in complaint(own)


def test_the_digest_knows_the_table_and_the_files(own: Own) -> None:
    own.add("cyst", "p1")
    own.add("nodule", "p2")
    first = read_manifest(own.finish()).digest
    assert read_manifest(own.root).digest == first
    path = own.root / "masks/0.png"
    path.write_bytes(path.read_bytes() + b"\0")
    assert read_manifest(own.root).digest != first


def test_a_deep_image_and_a_mask_of_ones(own: Own) -> None:
    own.add("cyst", "p1", box=(60, 80, 100, 110))
    own.add("nodule", "p2")
    Image.fromarray(own.pixels[0].astype(np.uint16) * 257).save(own.root / "images/0.png")
    mask = np.asarray(Image.open(own.root / "masks/0.png"))
    Image.fromarray((mask > 0).astype(np.uint8)).save(own.root / "masks/0.png")
    index = read_manifest(own.finish())
    found = [p for p in build_samples(index, own.root, own.study()) if isinstance(p, Sample)]
    deep = next(p for p in found if p.label == "cyst")
    assert deep.lesion_box == Box(60, 80, 100, 110)
    assert deep.pixels.mean() == pytest.approx(own.pixels[0][50:140, 20:140].mean(), abs=0.6)


def test_margins_are_classes_and_the_label_is_the_pathology(own: Own) -> None:
    """Of one margin alone, whatever the case of its word; other lesions are left out with a reason."""
    words = ("CIRCUMSCRIBED", "spiculated", "ILL_DEFINED", "ILL_DEFINED-SPICULATED", "")
    for n, word in enumerate(words):
        own.add("MALIGNANT" if n % 2 else "BENIGN", f"p{n}", margins=word)
    root = own.finish()
    index = read_any(DataConfig(root=root, classes="margins"), root)
    assert [label.code for label in index.labels] == ["CM", "IM", "SM"]
    assert [(lesion.label, lesion.pathology) for lesion in index.lesions] == [
        ("CM", "BENIGN"), ("SM", "MALIGNANT"), ("IM", "BENIGN"), (None, "MALIGNANT"), (None, "BENIGN"),
    ]  # fmt: skip
    assert [(e.reason, e.detail) for e in index.exclusions] == [
        ("no_margin_class", "ILL_DEFINED-SPICULATED"), ("no_margin_class", ""),
    ]  # fmt: skip
    plain = read_any(DataConfig(root=root), root)
    assert {label.code for label in plain.labels} == {"BENIGN", "MALIGNANT"} and plain.digest != index.digest
