"""CBIS-DDSM, Kaggle JPEG edition: case files and `jpeg/<SeriesInstanceUID>/` to an index.

Files are joined on the series folder. Their roles come from `dicom_info.csv`; where it is silent or contradicts
itself, from the pictures: a mask has two values and its mammogram's shape.
"""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from lesionlens.data.case_files import CaseRow, case_file_names, read_case_files
from lesionlens.data.dicom_info import FileInfo, read_dicom_info
from lesionlens.data.images import UnusableImageError, image_size, inside, read_grey
from lesionlens.data.patches import same_aspect
from lesionlens.identity import bytes_digest, digest
from lesionlens.records import DatasetIndex, Exclusion, Image, Label, Lesion

LABELS = (
    Label("B", "background", "background", 0, False),
    Label("BC", "benign calcification", "calcification", 1, True),
    Label("BM", "benign mass", "mass", 2, True),
    Label("MC", "malignant calcification", "calcification", 3, True),
    Label("MM", "malignant mass", "mass", 4, True),
)
CODES = {
    ("calc", "BENIGN"): "BC",
    ("mass", "BENIGN"): "BM",
    ("calc", "MALIGNANT"): "MC",
    ("mass", "MALIGNANT"): "MM",
}
MIDDLE = slice(32, 224)  # grey values that a two-valued picture hardly has, even as a JPEG
MIDDLE_SHARE = 0.002


def read_index(root: Path) -> DatasetIndex:
    """The index of the data set at `root`, or in a folder one or two levels below it.

    Lesions come in case-file order: training before test, mass before calcification. A lesion whose files are
    missing, ambiguous or refused has an exclusion. The digest depends on case files, file names and sizes.

    Raises ValueError, naming file, line and remedy, where the tables can't be trusted.
    """
    base = find_base(root)
    rows = read_case_files(base / "csv", root)
    files = _Files(root, base, read_dicom_info(base / "csv/dicom_info.csv", root))
    images, full = _images(rows, files)
    lesions = []
    exclusions = []
    for row in rows:
        mask = None
        problem = _refusal(row) or full[row.image_key][1]
        if problem is None:
            mask, problem = files.mask(row, full[row.image_key][0])
        if problem is not None:
            exclusions.append(Exclusion(row.image_key, row.lesion_key, *problem))
        lesions.append(_lesion(row, mask))
    used = [i.path for i in images] + [lesion.mask_path for lesion in lesions if lesion.mask_path]
    content = [bytes_digest([(base / "csv" / name).read_bytes()]) for name in case_file_names()]
    sizes = [(path.removeprefix(files.prefix), files.size(path)) for path in used]
    reasons = [(e.image_key, e.lesion_key, e.reason) for e in exclusions]
    identity = digest("cbis_kaggle", content, sizes, reasons)
    return DatasetIndex("CBIS-DDSM", "cbis_kaggle", identity, LABELS, tuple(images), tuple(lesions), tuple(exclusions))


def find_base(root: Path) -> Path:
    """The folder that holds `csv/` and `jpeg/`: `root`, or the only such folder at most two levels below it."""
    for level in ((root,), root.glob("*"), root.glob("*/*")):
        found = sorted(p for p in level if (p / "csv").is_dir() and (p / "jpeg").is_dir())
        for folder in (f / name for f in found for name in (".", "csv", "jpeg")):
            if not folder.resolve().is_relative_to(root.resolve()):
                raise ValueError(f"{folder} is a link that leaves {root}: name the folder it points to, or copy it")
        if len(found) > 1:
            raise ValueError(f"{root} holds {len(found)} data sets, {found[0]} and {found[1]} among them: name one")
        if found:
            return found[0]
    raise ValueError(f"{root} holds no csv/ and jpeg/ folders: name the unpacked Kaggle edition of CBIS-DDSM")


def lesion_label(kind: str, pathology: str) -> str | None:
    """Class code, None for BENIGN_WITHOUT_CALLBACK."""
    return CODES.get((kind, pathology))


def _images(
    rows: tuple[CaseRow, ...], files: "_Files"
) -> tuple[list[Image], dict[str, tuple[str, tuple[str, str] | None]]]:
    """Images in order of appearance; path and problem (reason, detail) by image key."""
    images: list[Image] = []
    full: dict[str, tuple[str, tuple[str, str] | None]] = {}
    series: dict[str, str] = {}
    for row in rows:
        if series.setdefault(row.image_key, row.image_series) != row.image_series:
            raise ValueError(
                f"{row.place}: {row.image_key} has another image file path than in a row before; correct it"
            )
        if row.image_key not in full:
            full[row.image_key] = files.full(row.image_series)
            path = full[row.image_key][0]
            images.append(Image(row.image_key, row.patient, path, row.side, row.view, row.density, row.part))
    return images, full


def _lesion(row: CaseRow, mask: str | None) -> Lesion:
    return Lesion(
        key=row.lesion_key,
        image_key=row.image_key,
        lesion_type="mass" if row.kind == "mass" else "calcification",
        pathology=row.pathology,
        label=lesion_label(row.kind, row.pathology),
        mask_path=mask,
        official_part=row.part,
        abnormality_id=row.abnormality,
        subtlety=row.subtlety,
        assessment=row.assessment,
    )


def _refusal(row: CaseRow) -> tuple[str, str] | None:
    return ("path_refused", f"{row.refused!r} is not case/study/series/file") if row.refused else None


class _Files:
    """The JPEGs of a data set by series folder; paths are relative to the root, POSIX."""

    def __init__(self, root: Path, base: Path, info: dict[tuple[str, str], FileInfo]) -> None:
        self.root = root
        self.prefix = "" if base == root else base.relative_to(root).as_posix() + "/"
        self.info = info
        self._sizes: dict[str, int] = {}
        self._listed = lru_cache(maxsize=None)(self._list)

    def size(self, path: str) -> int:
        """Bytes of a listed file, 0 for one that is not there."""
        return self._sizes.get(path, 0)

    def full(self, series: str) -> tuple[str, tuple[str, str] | None]:
        """Path of the full mammogram of a series, and why there is none (reason, detail)."""
        folder = f"{self.prefix}jpeg/{series}"
        if not series:
            return "", ("path_refused", "the image file path is not case/study/series/file")
        try:
            paths = self._listed(series)
        except UnusableImageError as error:
            return folder, (f"image_{error.reason}", error.detail)
        full = [path for path in paths if self._info(path).role == "full"]
        found = full or [path for path in paths if self._info(path).role is None] or (paths if len(paths) == 1 else [])
        if len(found) == 1:
            return found[0], None
        reason = "image_ambiguous" if found else "image_missing"
        return folder, (reason, f"{len(found)} full mammograms in {folder}")

    def mask(self, row: CaseRow, full: str) -> tuple[str | None, tuple[str, str] | None]:
        """Path of a row's mask, or why there is none (reason, detail). Its path and its crop's may be swapped."""
        try:
            series = dict.fromkeys((row.mask_series, row.crop_series))
            paths = [path for name in series for path in self._listed(name) if path != full]
        except UnusableImageError as error:
            return None, (f"mask_{error.reason}", error.detail)
        masks = [path for path in paths if self._info(path).role == "mask"]
        if len(masks) == 1 and not self._doubtful(masks[0], paths, full):
            return masks[0], None
        seen = [path for path in paths if self._looks_like_mask(path, full)]
        if len(seen) == 1:
            return seen[0], None
        where = " and ".join(f"{self.prefix}jpeg/{name}" for name in series)
        return None, ("mask_ambiguous" if len(seen) > 1 else "mask_missing", f"{len(seen)} masks in {where}")

    def _doubtful(self, mask: str, paths: list[str], full: str) -> bool:
        """Whether by the table's sizes another file than the one it calls mask is as large as the mammogram."""
        size = self._info(full).size
        others = [self._info(path).size for path in paths if path != mask]
        return size is not None and self._info(mask).size != size and size in others

    def _looks_like_mask(self, path: str, full: str) -> bool:
        """Two-valued, and of the mammogram's shape."""
        try:
            if not same_aspect(image_size(self.root, path), image_size(self.root, full)):
                return False
            counts = np.bincount(read_grey(self.root, path).ravel(), minlength=256)
        except UnusableImageError:
            return False
        return bool(counts[MIDDLE].sum() <= MIDDLE_SHARE * counts.sum())

    def _info(self, path: str) -> FileInfo:
        *_, series, name = path.split("/")
        return self.info.get((series, name), FileInfo(None, None))

    def _list(self, series: str) -> list[str]:
        """Paths of a series' pictures. UnusableImageError where the folder is a link that leaves the root."""
        folder = f"{self.prefix}jpeg/{series}"
        place = inside(self.root, folder)
        if not place.is_dir():
            return []
        found = []
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_file() and entry.name.lower().endswith((".jpg", ".jpeg", ".png")):
                    self._sizes[f"{folder}/{entry.name}"] = entry.stat().st_size
                    found.append(f"{folder}/{entry.name}")
        return sorted(found)
