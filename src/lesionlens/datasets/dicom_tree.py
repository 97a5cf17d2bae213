"""The DICOM files of a folder, in whatever tree they were downloaded: by the SeriesInstanceUID in their headers.

TCIA's downloader makes `Mass-Training_P_00001_LEFT_CC/<date>-<study>/<number>-<description>-<n>/1-1.dcm` or
`<patient>/<StudyInstanceUID>/<SeriesInstanceUID>/1-1.dcm`; IDC makes `<patient>/<study>/MG_<SeriesInstanceUID>/` or
flat folders of series. Names and levels are not relied upon.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lesionlens.datasets.cbis_files import FileInfo, role_of
from lesionlens.images.dicom import is_dicom, read_header
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import inside, spelt

log = logging.getLogger(__name__)

CASE_FILE = "mass_case_description_train_set.csv"


class DicomTree:
    """A listing of DICOM files; see `roi_files.Listing`. Headers are read once, pixels never."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._info: dict[str, FileInfo] = {}
        self._identity: dict[str, tuple[str, int]] = {}
        self._series: dict[str, list[str]] = defaultdict(list)
        for path in sorted(_files(root)):
            self._enter(path)
        if not self._series:
            raise ValueError(f"{root} holds no DICOM file: name the folder that the download made")

    def paths(self, series: str) -> list[str]:
        return self._series.get(series, [])

    def info(self, path: str) -> FileInfo:
        return self._info.get(path, FileInfo(None, None))

    def place(self, series: str) -> str:
        return f"series {series}"

    def identity(self, path: str) -> tuple[str, int]:
        """Series and file name, which do not depend on the tree, and the file's bytes; 0 where it is not there."""
        return self._identity.get(path, (path, 0))

    def _enter(self, path: str) -> None:
        # A file whose header can't be read is known by its folder, where that is named after the series.
        series, info = Path(path).parent.name.removeprefix("MG_"), FileInfo(None, None)
        try:
            place = inside(self.root, path)
            if not place.is_file() or not (is_dicom(place) or path.endswith(".dcm")):
                return
            header = read_header(place, path)
            rows, columns = header["Rows"], header["Columns"]
            size = (int(columns), int(rows)) if rows.isdigit() and columns.isdigit() else None
            role = role_of(header["SeriesDescription"], header["BitsAllocated"], header["PatientID"])
            series, info = header["SeriesInstanceUID"] or series, FileInfo(role, size)
        except UnusableImageError as error:
            log.warning("%s", error.detail)
        self._series[series].append(path)
        self._info[path] = info
        found = os.lstat(self.root / path).st_size if os.path.lexists(self.root / path) else 0
        self._identity[path] = (f"{series}/{Path(path).name}", found)


def find_case_files(root: Path) -> Path:
    """The folder of the four case files: `root`, or the first one at most two levels below it that holds them."""
    for level in ((root,), root.glob("*"), root.glob("*/*")):
        found = sorted(folder for folder in level if (folder / CASE_FILE).is_file())
        if found:
            return found[0]
    raise ValueError(
        f"{root} holds no {CASE_FILE}: put the four case files of CBIS-DDSM, offered beside the images, into it"
    )


def _files(root: Path) -> Iterator[str]:
    """Paths of files relative to the root, POSIX; folders that are links are not entered."""
    for folder, _, names in os.walk(root):
        for name in names:
            if not name.lower().endswith((".csv", ".json", ".txt", ".sha256", ".partial", ".xml", ".html")):
                yield spelt((Path(folder) / name).relative_to(root).as_posix())
