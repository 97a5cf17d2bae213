"""`dicom_info.csv` of the Kaggle edition: what each JPEG is, from its DICOM header; never from its name."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from lesionlens.datasets.csv_table import read_table

Role = Literal["full", "crop", "mask"]

COLUMNS = ("image_path", "SeriesDescription", "BitsAllocated", "PatientID", "Rows", "Columns")
DESCRIPTIONS: dict[str, Role] = {
    "full mammogram images": "full",
    "cropped images": "crop",
    "ROI mask images": "mask",
}


@dataclass(frozen=True, slots=True)
class FileInfo:
    """`role` None: the header contradicts itself. `size` (width, height) as the header has it, None if it has not."""

    role: Role | None
    size: tuple[int, int] | None


def role_of(description: str, bits: str, patient_id: str) -> Role | None:
    """The role of a file; None when description and depth contradict each other or say nothing.

    Rows without description: 8 bits make a mask, 16 an image, and an image without `_<n>` at the end of its
    PatientID is a full mammogram.
    """
    described = DESCRIPTIONS.get(description)
    if described is not None:
        expected = "8" if described == "mask" else "16"
        return described if bits in ("", expected) else None
    if bits == "8":
        return "mask"
    if bits == "16" and patient_id:
        return "crop" if re.search(r"_\d+$", patient_id.removesuffix(".dcm")) else "full"
    return None


def read_dicom_info(path: Path, root: Path) -> dict[tuple[str, str], FileInfo]:
    """By (series folder, file name): the last two components of `image_path`, whatever precedes them.

    A file whose rows differ has no role.
    """
    found: dict[tuple[str, str], FileInfo] = {}
    for _, fields in read_table(path, root, COLUMNS):
        parts = PurePosixPath(fields["image_path"]).parts
        if len(parts) < 2:
            continue
        rows, columns = fields["Rows"], fields["Columns"]
        size = (int(columns), int(rows)) if re.fullmatch(r"\d{1,6},\d{1,6}", f"{rows},{columns}") else None
        role = role_of(fields["SeriesDescription"], fields["BitsAllocated"], fields["PatientID"])
        file, info = (parts[-2], parts[-1]), FileInfo(role, size)
        found[file] = info if found.get(file, info) == info else FileInfo(None, None)
    return found
