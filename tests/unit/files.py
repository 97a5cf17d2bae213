"""Builders of small data sets in every layout, and of single image files."""

import csv
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from lesionlens.config.data import BackgroundConfig, DataConfig, PhantomConfig
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.case_files import COLUMNS
from lesionlens.datasets.registry import read_index
from lesionlens.records import Exclusion, Sample
from lesionlens.samples.sample_set import build_samples
from lesionlens.samples.splits import SplitCheck

CASE_FILES = {
    f"{kind}_{split}": f"{kind}_case_description_{split}_set.csv"
    for kind in ("mass", "calc")
    for split in ("train", "test")
}
INFO_COLUMNS = ("image_path", "SeriesDescription", "BitsAllocated", "PatientID", "Rows", "Columns")


PHANTOM = PhantomConfig(height=300, train_per_class=4, test_per_class=2, callback_free=12, seed=7)


def small_study(root: Path, **parts: Any) -> StudyConfig:
    """Patches of 32 pixels of the data set at `root`, stretched to squares, cut in this process."""
    values = {"data": DataConfig(root=root), "background": BackgroundConfig(size=40, train=1, test=1)}
    patches = {"size": 32, "aspect": "stretch"} | parts.pop("patches", {})
    return StudyConfig.model_validate(values | {"patches": patches} | parts)


def ellipse(box: tuple[int, int, int, int], width: int, height: int) -> NDArray[np.uint8]:
    """A mask uint8 [height, width], 255 in the ellipse that fills the box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    y, x = np.ogrid[:height, :width]
    inside = ((x + 0.5 - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y + 0.5 - (y0 + y1) / 2) / (y1 - y0)) ** 2 <= 0.25
    return inside.astype(np.uint8) * np.uint8(255)


@dataclass
class Kaggle:
    """Writes cases; `finish` writes the tables. Pictures are PNG where exact grey values matter to a test."""

    root: Path
    rows: dict[str, list[list[str]]] = field(default_factory=lambda: {name: [] for name in CASE_FILES})
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
            mask = ellipse((x0, y0, x1, y1), width, height)
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
        return self.root / "csv" / CASE_FILES.get(name, "dicom_info.csv")

    def finish(self) -> Path:
        (self.root / "csv").mkdir(exist_ok=True)
        (self.root / "jpeg").mkdir(exist_ok=True)
        for name, rows in self.rows.items():
            with self.table(name).open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\r\n")
                writer.writerow(COLUMNS["mass" if name.startswith("mass") else "calc"])
                writer.writerows(rows)
        with self.table("info").open("w", newline="") as file:
            table = csv.DictWriter(file, INFO_COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(self.info)
        return self.root


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
        if mask:
            self._save(f"masks/{n}.{kind}", ellipse(box, 200, 300))
        row = {"image": f"images/{n}.{kind}", "mask": f"masks/{n}.{kind}" if mask else "", "label": label}
        self.rows.append(row | {"patient": patient} | more)

    def _save(self, name: str, pixels: NDArray[np.uint8]) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".dcm":
            write_dicom(path, pixels)
        else:
            Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))

    def study(self, **parts: Any) -> StudyConfig:
        """A small study of these images, six windows of every class without lesions for training, three for test."""
        values = {
            "data": DataConfig(source="manifest", root=self.root),
            "background": BackgroundConfig(size=40, train=6, test=3, per_image=3),
        }
        return small_study(self.root, **(values | parts))

    def cut(self, **parts: Any) -> tuple[list[Sample], list[Exclusion], SplitCheck]:
        """What the study's samples are made of, the reasons and notes, and the check of the splits."""
        study = self.study(**parts)
        index = read_index(study.data, self.finish())
        check, samples, left_out = SplitCheck(index), [], []
        for item in build_samples(index, self.root, study):
            check.add(item)
            samples += [item] if isinstance(item, Sample) else []
            left_out += [item] if isinstance(item, Exclusion) else []
        return samples, left_out, check

    def finish(self) -> Path:
        with (self.root / "manifest.csv").open("w", newline="") as file:
            columns = list(dict.fromkeys(name for row in self.rows for name in row))
            table = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            table.writeheader()
            table.writerows(self.rows)
        return self.root
