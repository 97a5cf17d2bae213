"""Image files of CBIS-DDSM by series, JPEG and DICOM edition, and which of them is the mammogram, crop or mask.

Roles come from DICOM headers (`dicom_info.csv` in the Kaggle edition). Where these are silent or contradict themselves,
the pixels decide: a mask has two values and its mammogram's shape.
"""

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from lesionlens.datasets.case_files import CASE_FILES, CaseRow, series_of
from lesionlens.datasets.tables import read_table
from lesionlens.images.annotation import same_aspect
from lesionlens.images.dicom import is_dicom, read_header
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import escaped, image_size, path_below, read_image

log = logging.getLogger(__name__)

Role = Literal["full", "crop", "mask"]
DESCRIPTIONS: dict[Role, str] = {
    "full": "full mammogram images",
    "crop": "cropped images",
    "mask": "ROI mask images",
}
INFO = ("image_path", "SeriesDescription", "BitsAllocated", "PatientID", "Rows", "Columns")
IMAGES = (".jpg", ".jpeg", ".png")
TABLES = (".csv", ".json", ".txt", ".sha256", ".partial", ".xml", ".html")
MIDDLE = (32 / 255, 224 / 255)  # between these proportions of white a mask has hardly a pixel, even as a JPEG
MAX_MIDDLE = 0.002  # proportion of pixels


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says; `size` is (width, height) in pixels. None where it is silent or contradicts itself."""

    role: Role | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """A file by its path below the root of the data set, and by a name that is the same in any tree."""

    path: str
    name: str
    header: Header


@dataclass(frozen=True)
class Listing:
    """Files of all series of a data set. `place` names a series in messages, `unreadable` why it can't be listed."""

    root: Path
    place: str
    series: dict[str, list[SeriesFile]] = field(default_factory=lambda: defaultdict(list))
    unreadable: dict[str, UnusableImageError] = field(default_factory=dict)

    def files(self, *series: str) -> list[SeriesFile]:
        """Files of some series, in order of their paths. UnusableImageError where one of them can't be listed."""
        for name in series:
            if name in self.unreadable:
                raise self.unreadable[name]
        return [file for name in dict.fromkeys(series) for file in self.series.get(name, [])]

    def places(self, *series: str) -> str:
        return " and ".join(self.place.format(name) for name in dict.fromkeys(series))


def role_of(description: str, bits: str, patient_id: str) -> Role | None:
    """The role that a header gives; None when description and depth contradict each other or say nothing.

    Without description, 8 bits make a mask, 16 an image, and an image without `_<n>` at the end of its PatientID is a
    full mammogram.
    """
    described = next((role for role, text in DESCRIPTIONS.items() if text == description), None)
    if described is not None:
        return described if bits in ("", "8" if described == "mask" else "16") else None
    if bits == "8":
        return "mask"
    if bits == "16" and patient_id:
        return "crop" if re.search(r"_\d+$", patient_id.removesuffix(".dcm")) else "full"
    return None


def _header(fields: dict[str, str]) -> Header:
    rows, columns = fields["Rows"], fields["Columns"]
    size = (int(columns), int(rows)) if re.fullmatch(r"\d{1,6},\d{1,6}", f"{rows},{columns}") else None
    return Header(role_of(fields["SeriesDescription"], fields["BitsAllocated"], fields["PatientID"]), size)


def read_dicom_info(path: Path, root: Path) -> dict[str, Header]:
    """Headers by `<series>/<file>`, the end of `image_path` whatever precedes it. Where rows differ they are void."""
    found: dict[str, Header] = {}
    for _, fields in read_table(path, root, INFO):
        name = "/".join(PurePosixPath(fields["image_path"]).parts[-2:])
        header = _header(fields)
        found[name] = header if found.get(name, header) == header else Header()
    return found


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


def list_kaggle(root: Path, base: Path, wanted: Iterable[str]) -> Listing:
    """The files of the series `wanted`, each a folder below `base`/jpeg."""
    info = read_dicom_info(base / "csv/dicom_info.csv", root)
    jpeg = (base / "jpeg").relative_to(root).as_posix()
    listing = Listing(root, f"{jpeg}/{{}}")
    for series in wanted:
        folder = f"{jpeg}/{series}"
        try:
            names = [f"{series}/{name}" for name in _images(path_below(root, folder))]
            listing.series[series] = [SeriesFile(f"{jpeg}/{n}", f"jpeg/{n}", info.get(n, Header())) for n in names]
        except UnusableImageError as error:
            listing.unreadable[series] = error
        except OSError as error:
            listing.unreadable[series] = UnusableImageError("unreadable", f"{folder}: {error.strerror}")
    return listing


def _images(folder: Path) -> list[str]:
    """Sorted names of image files, links included; none where there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        files = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
    return sorted(escaped(name) for name in files if name.lower().endswith(IMAGES))


def find_case_files(root: Path) -> Path | None:
    """The folder of the four case files: `root`, or the first one at most two levels below it; None without any."""
    first = next(iter(CASE_FILES.values()))
    for level in ((root,), root.glob("*"), root.glob("*/*")):
        found = sorted(folder for folder in level if (folder / first).is_file())
        if found:
            return found[0]
    return None


def list_dicom(root: Path) -> Listing:
    """The DICOM files in whatever tree they were downloaded, by the SeriesInstanceUID in their headers.

    TCIA's downloader makes `Mass-Training_P_00001_LEFT_CC/<date>-<study>/<number>-<description>-<n>/1-1.dcm` or
    `<patient>/<StudyInstanceUID>/<SeriesInstanceUID>/1-1.dcm`; IDC makes `<patient>/<study>/MG_<SeriesInstanceUID>/` or
    flat folders of series. Names and levels are not relied upon, only where a header can't be read its folder is taken
    for the series. Folders that are links are not entered. ValueError where there is no DICOM file.
    """
    listing = Listing(root, "series {}")
    names = ((Path(folder) / name).relative_to(root).as_posix() for folder, _, files in os.walk(root) for name in files)
    for path in sorted(escaped(name) for name in names if not name.lower().endswith(TABLES)):
        series, header = Path(path).parent.name.removeprefix("MG_"), Header()
        try:
            place = path_below(root, path)
            if not place.is_file() or not (is_dicom(place) or path.endswith(".dcm")):
                continue
            fields = read_header(place, path)
            series, header = fields["SeriesInstanceUID"] or series, _header(fields)
        except UnusableImageError as error:
            log.warning("%s", error.detail)
        listing.series[series].append(SeriesFile(path, f"{series}/{Path(path).name}", header))
    if not listing.series:
        raise ValueError(f"{root} holds no DICOM file: name the folder that the download made")
    return listing


def full_mammogram(listing: Listing, series: str) -> SeriesFile:
    """The mammogram of a series. UnusableImageError 'missing' or 'ambiguous' where there is none or several."""
    files = listing.files(series)
    full = [file for file in files if file.header.role == "full"] or [
        file for file in files if file.header.role is None
    ]
    found = full or (files if len(files) == 1 else [])
    if len(found) != 1:
        place = listing.places(series)
        raise UnusableImageError("ambiguous" if found else "missing", f"{len(found)} full mammograms in {place}")
    return found[0]


def mask_of(listing: Listing, row: CaseRow, full: SeriesFile) -> SeriesFile:
    """The mask of a row, whose path and its crop's may be swapped.

    UnusableImageError 'missing' or 'ambiguous' where there is none or several.
    """
    series = series_of(row.mask_path), series_of(row.crop_path)
    files = [file for file in listing.files(*series) if file.path != full.path]
    masks = [file for file in files if file.header.role == "mask"]
    if len(masks) != 1 or _doubtful(masks[0], files, full):
        masks = [file for file in files if _looks_like_mask(listing.root, file, full)]
    if len(masks) != 1:
        place = listing.places(*series)
        raise UnusableImageError("ambiguous" if masks else "missing", f"{len(masks)} masks in {place}")
    return masks[0]


def _doubtful(mask: SeriesFile, files: list[SeriesFile], full: SeriesFile) -> bool:
    """Whether by the headers' sizes another file than the one they call mask is as large as the mammogram."""
    size, others = full.header.size, [file.header.size for file in files if file != mask]
    return size is not None and mask.header.size != size and size in others


def _looks_like_mask(root: Path, file: SeriesFile, full: SeriesFile) -> bool:
    """Two-valued, and of the mammogram's shape."""
    try:
        if not same_aspect(image_size(root, file.path), image_size(root, full.path)):
            return False
        image = read_image(root, file.path)
    except UnusableImageError:
        return False
    low, high = (proportion * image.white for proportion in MIDDLE)
    return float(np.mean((image.pixels >= low) & (image.pixels < high))) <= MAX_MIDDLE
