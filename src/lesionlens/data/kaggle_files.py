"""The JPEGs of the Kaggle edition: `jpeg/<SeriesInstanceUID>/`, described by `csv/dicom_info.csv`."""

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from lesionlens.datasets.cbis_files import FileInfo, read_dicom_info
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import inside, spelt

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
