"""Which file of a series is the mammogram, which the mask: by their headers, and where these fail by their pixels."""

from pathlib import Path
from typing import Protocol

import numpy as np

from lesionlens.datasets.case_files import CaseRow
from lesionlens.datasets.cbis_files import FileInfo
from lesionlens.images.annotation import same_aspect
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import image_size, read_picture

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
