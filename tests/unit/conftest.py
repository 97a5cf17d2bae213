"""Shared by the unit tests: data sets in every layout that a test can spoil, and small sample sets as arrays."""

import csv
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from lesionlens.config import RunConfig, StoppingConfig, TrainingConfig
from lesionlens.records import SampleArrays, Statistics

REAL = {
    f"{kind}_{split}": f"{kind}_case_description_{split}_set.csv"
    for kind in ("mass", "calc")
    for split in ("train", "test")
}
CASE_COLUMNS = {
    "mass": "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,"
    "mass margins,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path",
    "calc": "patient_id,breast density,left or right breast,image view,abnormality id,abnormality type,calc type,"
    "calc distribution,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path",
}
INFO_COLUMNS = ("image_path", "SeriesDescription", "BitsAllocated", "PatientID", "Rows", "Columns")


@pytest.fixture
def case_files_only(real: Path, tmp_path: Path) -> Path:
    """The four real case files, an excerpt of dicom_info.csv and not one picture."""
    (tmp_path / "csv").mkdir()
    (tmp_path / "jpeg").mkdir()
    for name in REAL.values():
        shutil.copy(real / "csv" / name, tmp_path / "csv")
    shutil.copy(real / "csv/dicom_info_excerpt.csv", tmp_path / "csv/dicom_info.csv")
    return tmp_path


@dataclass
class Kaggle:
    """Writes cases; `finish` writes the tables. Pictures are PNG where exact grey values matter to a test."""

    root: Path
    rows: dict[str, list[list[str]]] = field(default_factory=lambda: {name: [] for name in REAL})
    info: list[dict[str, str]] = field(default_factory=list)

    def case(
        self,
        patient: str,
        boxes: tuple[tuple[int, int, int, int], ...] = ((60, 80, 100, 110),),
        kind: str = "mass",
        split: str = "train",
        pathology: str = "MALIGNANT",
        side: str = "LEFT",
        view: str = "CC",
        size: tuple[int, int] = (200, 300),
        described: bool = True,
    ) -> str:
        """One mammogram and an elliptic mask per box (x0, y0, x1, y1); returns the image key."""
        name = f"{kind.capitalize()}-{'Training' if split == 'train' else 'Test'}_{patient}_{side}_{view}"
        width, height = size
        tissue = np.random.default_rng(len(self.info)).integers(60, 200, (height, width), dtype=np.uint8)
        self.picture(f"{name}-full", "1-001.png", tissue, "full", name, described)
        for n, (x0, y0, x1, y1) in enumerate(boxes, 1):
            mask = np.zeros((height, width), np.uint8)
            y, x = np.ogrid[:height, :width]
            mask[
                ((x + 0.5 - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y + 0.5 - (y0 + y1) / 2) / (y1 - y0)) ** 2 <= 0.25
            ] = 255
            self.picture(f"{name}-{n}", "1-002.png", tissue[y0:y1, x0:x1], "crop", f"{name}_{n}", described)
            self.picture(f"{name}-{n}", "2-003.png", mask, "mask", f"{name}_{n}", described)
            crop, roi = f"{name}_{n}/study/{name}-{n}/000000.dcm", f"{name}_{n}/study/{name}-{n}/000001.dcm\n"
            fields = [patient, "2", side, view, str(n), kind, "N/A", "N/A", "4", pathology, "3"]
            self.rows[f"{kind}_{split}"].append([*fields, f"{name}/study/{name}-full/000000.dcm", crop, roi])
        return name

    def picture(
        self, series: str, file: str, pixels: NDArray[np.uint8], role: str, patient_id: str, described: bool = True
    ) -> Path:
        path = self.root / "jpeg" / series / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        description = {"full": "full mammogram images", "crop": "cropped images", "mask": "ROI mask images"}[role]
        values = (
            f"CBIS-DDSM/jpeg/{series}/{file}",
            description if described else "",
            "8" if role == "mask" else "16",
            patient_id if described else f"{patient_id.split('_', 1)[1]}.dcm",
            str(pixels.shape[0]),
            str(pixels.shape[1]),
        )
        self.info.append(dict(zip(INFO_COLUMNS, values, strict=True)))
        return path

    def mask_path(self, image_key: str, n: int = 1) -> Path:
        return self.root / f"jpeg/{image_key}-{n}/2-003.png"

    def full_path(self, image_key: str) -> Path:
        return self.root / f"jpeg/{image_key}-full/1-001.png"

    def table(self, name: str) -> Path:
        return self.root / "csv" / REAL.get(name, "dicom_info.csv")

    def finish(self) -> Path:
        (self.root / "csv").mkdir(exist_ok=True)
        (self.root / "jpeg").mkdir(exist_ok=True)
        for name, rows in self.rows.items():
            with self.table(name).open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\r\n")
                writer.writerow(CASE_COLUMNS[name.split("_")[0]].split(","))
                writer.writerows(rows)
        with self.table("info").open("w", newline="") as file:
            table = csv.DictWriter(file, INFO_COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(self.info)
        return self.root


@pytest.fixture
def kaggle(tmp_path: Path) -> Kaggle:
    root = tmp_path / "data"
    root.mkdir()
    return Kaggle(root)


def write_dicom(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16], **tags: object) -> None:
    """A real DICOM file, little endian and uncompressed; `tags` replace or add to its header."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality = "MG"
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PixelRepresentation = 1, 0
    file.PhotometricInterpretation = "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8 * pixels.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in tags.items():
        setattr(file, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def write_tiff(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16], white_is_zero: bool) -> None:
    """An uncompressed grey TIFF of one strip, written field by field: Pillow can't write white as zero."""
    height, width = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    fields = {256: width, 257: height, 258: 8 * pixels.itemsize, 259: 1, 262: 0 if white_is_zero else 1}
    fields |= {273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: height, 279: len(data)}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(fields)) + table + bytes(4) + data)


def damaged(whole: bytes, count: int) -> Iterator[bytes]:
    """A file with some of its bytes changed, behind the first 132, or its end cut off; seeded."""
    chance = random.Random(0)
    start = 132 if whole[128:132] == b"DICM" else 0
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 5))):
            data[chance.randrange(start, min(len(data), 1000))] = chance.randrange(256)
        yield bytes(data[: chance.randrange(len(data))] if chance.random() < 0.2 else data)


@dataclass
class Own:
    """A data set of one's own: images and masks, listed in a manifest."""

    root: Path
    rows: list[dict[str, str]] = field(default_factory=list)
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)

    def add(
        self,
        label: str,
        patient: str,
        mask: bool = True,
        kind: str = "png",
        box: tuple[int, int, int, int] = (60, 80, 100, 110),
        **more: str,
    ) -> None:
        """One image of 200 x 300 pixels with, unless said otherwise, an elliptic mask."""
        n = len(self.rows)
        coarse = np.random.default_rng(n).integers(60, 200, (30, 20), dtype=np.uint8)
        self.pixels.append(np.asarray(Image.fromarray(coarse).resize((200, 300), Image.Resampling.BICUBIC)))
        self._save(f"images/{n}.{kind}", self.pixels[-1])
        x0, y0, x1, y1 = box
        y, x = np.ogrid[:300, :200]
        inside = ((x + 0.5 - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y + 0.5 - (y0 + y1) / 2) / (y1 - y0)) ** 2 <= 0.25
        if mask:
            self._save(f"masks/{n}.{kind}", inside.astype(np.uint8) * np.uint8(255))
        row = {"image": f"images/{n}.{kind}", "mask": f"masks/{n}.{kind}" if mask else "", "label": label}
        self.rows.append(row | {"patient": patient} | more)

    def _save(self, name: str, pixels: NDArray[np.uint8]) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".dcm":
            write_dicom(path, pixels)
        else:
            Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))

    def finish(self) -> Path:
        with (self.root / "manifest.csv").open("w", newline="") as file:
            columns = list(dict.fromkeys(name for row in self.rows for name in row))
            table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            table.writeheader()
            table.writerows(self.rows)
        return self.root


@pytest.fixture
def own(tmp_path: Path) -> Own:
    root = tmp_path / "own"
    root.mkdir()
    return Own(root)


CLASSES = ("B", "BC", "BM", "MC", "MM")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def leave_no_weights(tmp_path: Path) -> Iterator[None]:
    """Checkpoints of real networks are large, and pytest keeps the folders of its last sessions."""
    yield
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()


@pytest.fixture(scope="session")
def make_patches() -> Callable[..., SampleArrays]:
    """Stripes whose width is the class, in noise: 16 training, 16 validation and 5 test patches unless told."""

    def make(train: int = 16, validation: int = 16, size: int = 32, seed: int = 0) -> SampleArrays:
        count = train + validation + 5
        labels = np.arange(count) % 5
        stripes = np.sin(np.arange(size)[None, :, None] * (labels[:, None, None] + 1) / 3) * 60 + 110
        noise = np.random.default_rng(seed).normal(0, 25, (count, size, size))
        pixels = (stripes + noise).clip(0, 255).astype(np.uint8)
        return SampleArrays(
            digest=f"{seed:064d}",
            classes=CLASSES,
            ids=np.arange(1, count + 1),
            pixels=pixels,
            masks=np.zeros(pixels.shape, bool),
            labels=labels.astype(np.int64),
            splits=np.array(["train"] * train + ["validation"] * validation + ["test"] * 5),
            patients=np.array([f"P_{i:05d}" for i in range(count)]),
            has_mask=labels > 0,
            groups=("background", "calcification", "mass", "calcification", "mass"),
            statistics=(
                Statistics(None, 0.43, 0.2),
                *(Statistics(code, 0.4, 0.1 + 0.02 * i) for i, code in enumerate(CLASSES)),
            ),
        )

    return make


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunConfig]:
    def make(backbone: str = "resnet18", strategy: str = "gradual", **changes: Any) -> RunConfig:
        settings = {"batch_size": 16, "head_rate": 1e-3, "unit1_rate": 1e-3} | changes
        return RunConfig.model_validate({"backbone": backbone, "strategy": strategy, **settings})

    return make


@pytest.fixture(scope="session")
def make_training() -> Callable[..., TrainingConfig]:
    """Random weights, and epochs few enough for a test."""

    def make(epochs: int = 1, patience: int = 5, **changes: Any) -> TrainingConfig:
        stopping = StoppingConfig(patience=patience, max_epochs=epochs)
        return TrainingConfig.model_validate({"weights": "none", "stopping": stopping, **changes})

    return make


GROUPS = ("background", "calcification", "mass", "calcification", "mass")


def bright_squares(count: int = 60, size: int = 64, seed: int = 0) -> SampleArrays:
    """Half of the patches are for training; every fifth is background; three patches per patient."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 5
    pixels = generator.integers(60, 120, (count, size, size)).astype(np.uint8)
    masks = np.zeros((count, size, size), dtype=np.bool_)
    for patch in np.flatnonzero(labels):
        row, column = generator.integers(4, size // 2, 2)
        masks[patch, row : row + 20, column : column + 20] = True
        pixels[patch][masks[patch]] += np.uint8(25 * labels[patch])
    splits = np.array(["train", "validation", "test", "train", "test", "train"])[(np.arange(count) // 5) % 6]
    return SampleArrays(
        digest="tiny",
        classes=CLASSES,
        ids=np.arange(count, dtype=np.int64) * 10 + 1,
        pixels=pixels,
        masks=masks,
        labels=labels.astype(np.int64),
        splits=splits,
        patients=np.array([f"P_{i // 3:05d}" for i in range(count)]),
        has_mask=labels > 0,
        groups=GROUPS,
        statistics=(Statistics(None, 0.4, 0.15),),
    )


@pytest.fixture(scope="session")
def tiny_patches() -> Callable[..., SampleArrays]:
    """The maker, for tests that want their own."""
    torch.set_num_threads(1)
    return bright_squares
