"""Patches as small pictures inside a page, and the contact sheet of whole images with the windows cut from them."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from lesionlens.images.image import encode_webp
from lesionlens.records import ReportData
from lesionlens.reporting.data import Row, frame
from lesionlens.reporting.formatting import SPLITS, count, term
from lesionlens.samples.normalise import unpack_mask, unpack_pixels

QUALITY = 72
LEVELS = ((QUALITY, 1), (50, 1), (30, 1), (30, 2), (20, 4))
"""WebP quality, and by how much the sides shrink: tried in turn until all pictures fit."""


def pictures(patches: Sequence[NDArray[np.uint8]], room: int) -> tuple[list[str], bool]:
    """Data URIs of grey patches uint8 [s, s] that have at most `room` characters together, and whether that took
    less than the usual quality. The smallest level is taken as it comes.
    """
    found: list[str] = []
    for quality, shrink in LEVELS:
        found = [webp(patch, quality, shrink) for patch in patches]
        if sum(map(len, found)) <= room:
            return found, (quality, shrink) != LEVELS[0]
    return found, True


def webp(pixels: NDArray[np.uint8], quality: int = QUALITY, shrink: int = 1) -> str:
    """A grey patch uint8 [s, s] as a WebP data URI, its sides divided by `shrink`."""
    if shrink > 1:
        pixels = np.asarray(Image.fromarray(pixels).reduce(shrink))
    return "data:image/webp;base64," + base64.b64encode(encode_webp(pixels, quality)).decode()


TOLERANCE = 0.4


def outline(mask: NDArray[np.bool_]) -> str:
    """The outline of a mask bool [s, s] as SVG path data in pixels of the patch; '' for an empty mask."""
    mask = np.pad(mask, 1)
    paths = []
    for contour in find_contours(mask.astype(np.float32), 0.5):  # type: ignore[no-untyped-call]
        points = approximate_polygon(contour, TOLERANCE) - 0.5  # type: ignore[no-untyped-call]
        if len(points) > 3:
            paths.append("M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in points[:-1]) + "Z")
    return "".join(paths)


def contact_sheet(data: ReportData) -> list[dict[str, Any]]:
    """Classes in their order, each with `name` and `samples`; empty where the record holds no overviews.

    A sample: `whole` and `patch` (data URIs) with a text each, the full image's `width` and `height`, `window` (x, y,
    width, height in its pixels), `outline` (SVG path in pixels of the patch, '' for none), `size` of the patch, and
    `facts`.
    """
    found = frame(data, "contact_sheet").partition_by("code", as_dict=True, maintain_order=True)
    return [
        {"name": sheet["name"][0], "samples": [_sample(row) for row in sheet.iter_rows(named=True)]}
        for sheet in found.values()
    ]


def _sample(row: Row) -> dict[str, Any]:
    pixels = unpack_pixels(row["pixels"])
    size = len(pixels)
    width, height = row["window_x1"] - row["window_x0"], row["window_y1"] - row["window_y0"]
    lesion = row["mask"] is not None
    drawn = "the window and the annotation are" if lesion else "the window is"
    where = " ".join(word for word in (row["laterality"], row["view"]) if word)
    of = f"patient {row['patient']}{', ' + where if where else ''}"
    return {
        "whole": "data:image/webp;base64," + base64.b64encode(row["overview"]).decode(),
        "whole_text": f"Whole image of {of}, {row['name']}; {drawn} drawn on it",
        "patch": webp(pixels),
        "patch_text": f"The patch cut from it{', with the annotation' if lesion else ''}",
        "width": row["width"],
        "height": row["height"],
        "window": (row["window_x0"], row["window_y0"], width, height),
        "outline": outline(unpack_mask(row["mask"], size)) if lesion else "",
        "size": size,
        "title": row["patient"],
        "where": where,
        "facts": f"{term(row['split'], SPLITS)}, window {count(width)} × {count(height)} pixels",
    }
