"""Files of CBIS-DDSM: the Kaggle edition's listing, its images, and which file is a mask and which a crop."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

import numpy as np

from lesionlens.datasets.case_files import CaseRow
from lesionlens.datasets.csv_table import read_table
from lesionlens.images.annotation import same_aspect
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import image_size, inside, read_picture, spelt

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


SUFFIXES = (".jpg", ".jpeg", ".png")


def find_bases(root: Path) -> list[Path]:
    """Folders that hold `csv/` and `jpeg/`: `root`, or all at the first of two levels below it that has any."""
    for level in ((root,), root.glob("*"), root.glob("*/*")):
        found = sorted(p for p in level if (p / "csv").is_dir() and (p / "jpeg").is_dir())
        if found:
            return found
    return []


def find_base(root: Path) -> Path:
    """The folder that holds `csv/` and `jpeg/`. ValueError where there is none, or two, or one outside `root`."""
    found = find_bases(root)
    if not found:
        raise ValueError(f"{root} holds no csv/ and jpeg/ folders: name the unpacked Kaggle edition of CBIS-DDSM")
    for folder in (f / name for f in found for name in (".", "csv", "jpeg")):
        if not folder.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{folder} is a link that leaves {root}: name a folder that holds both, or copy it")
    if len(found) > 1:
        raise ValueError(f"{root} holds {len(found)} data sets, {found[0]} and {found[1]} among them: name one")
    return found[0]


class KaggleFiles:
    """A listing of the Kaggle edition; see `roi_files.Listing`."""

    def __init__(self, root: Path, base: Path) -> None:
        self.root = root
        self._prefix = "" if base == root else base.relative_to(root).as_posix() + "/"
        self._info = read_dicom_info(base / "csv/dicom_info.csv", root)
        self._sizes: dict[str, int] = {}
        self._listed = lru_cache(maxsize=None)(self._list)

    def paths(self, series: str) -> list[str]:
        return self._listed(series)

    def info(self, path: str) -> FileInfo:
        *_, series, name = path.split("/")
        return self._info.get((series, name), FileInfo(None, None))

    def place(self, series: str) -> str:
        return f"{self._prefix}jpeg/{series}"

    def identity(self, path: str) -> tuple[str, int]:
        """A file's name that does not depend on the place of the data set, and its bytes; 0 where it is not there."""
        return path.removeprefix(self._prefix), self._sizes.get(path, 0)

    def _list(self, series: str) -> list[str]:
        folder = self.place(series)
        place = inside(self.root, folder)
        if not place.is_dir():
            return []
        found = []
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.lower().endswith(SUFFIXES) and not entry.is_dir(follow_symlinks=False):
                        found.append(spelt(f"{folder}/{entry.name}"))
                        with suppress(OSError):  # a link to nothing, or to itself: said when it is read
                            self._sizes[found[-1]] = entry.stat().st_size
        except OSError as error:
            raise UnusableImageError("unreadable", f"{folder}: {error.strerror}") from error
        return sorted(found)


MIDDLE = (32 / 255, 224 / 255)  # between these shares of white a two-valued picture has hardly a pixel, even as a JPEG
MIDDLE_SHARE = 0.002


class Listing(Protocol):
    """The picture files of a data set by series; paths are relative to `root`, POSIX."""

    root: Path

    def paths(self, series: str) -> list[str]:
        """Files of a series, sorted. UnusableImageError 'refused' where it is a link that leaves the root."""

    def info(self, path: str) -> FileInfo:
        """What the file's header says."""

    def place(self, series: str) -> str:
        """Where the series is, for messages."""


class RoiFiles:
    """Finds mammograms and masks in a listing."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    def full(self, series: str) -> tuple[str, tuple[str, str] | None]:
        """Path of the full mammogram of a series, and why there is none (reason, detail)."""
        if not series:
            return "", ("path_refused", "the image file path is not case/study/series/file")
        place = self.listing.place(series)
        try:
            paths = self.listing.paths(series)
        except UnusableImageError as error:
            return place, (f"image_{error.reason}", error.detail)
        full = [path for path in paths if self.listing.info(path).role == "full"]
        unknown = [path for path in paths if self.listing.info(path).role is None]
        found = full or unknown or (paths if len(paths) == 1 else [])
        if len(found) == 1:
            return found[0], None
        reason = "image_ambiguous" if found else "image_missing"
        return place, (reason, f"{len(found)} full mammograms in {place}")

    def mask(self, row: CaseRow, full: str) -> tuple[str | None, tuple[str, str] | None]:
        """Path of a row's mask, or why there is none (reason, detail). Its path and its crop's may be swapped."""
        series = dict.fromkeys((row.mask_series, row.crop_series))
        try:
            paths = [path for name in series for path in self.listing.paths(name) if path != full]
        except UnusableImageError as error:
            return None, (f"mask_{error.reason}", error.detail)
        masks = [path for path in paths if self.listing.info(path).role == "mask"]
        if len(masks) == 1 and not self._doubtful(masks[0], paths, full):
            return masks[0], None
        seen = [path for path in paths if self._looks_like_mask(path, full)]
        if len(seen) == 1:
            return seen[0], None
        where = " and ".join(self.listing.place(name) for name in series)
        return None, ("mask_ambiguous" if len(seen) > 1 else "mask_missing", f"{len(seen)} masks in {where}")

    def _doubtful(self, mask: str, paths: list[str], full: str) -> bool:
        """Whether by the headers' sizes another file than the one they call mask is as large as the mammogram."""
        size = self.listing.info(full).size
        others = [self.listing.info(path).size for path in paths if path != mask]
        return size is not None and self.listing.info(mask).size != size and size in others

    def _looks_like_mask(self, path: str, full: str) -> bool:
        """Two-valued, and of the mammogram's shape."""
        root = self.listing.root
        try:
            if not same_aspect(image_size(root, path), image_size(root, full)):
                return False
            picture = read_picture(root, path)
        except UnusableImageError:
            return False
        low, high = (share * picture.top for share in MIDDLE)
        return float(np.mean((picture.pixels >= low) & (picture.pixels < high))) <= MIDDLE_SHARE
