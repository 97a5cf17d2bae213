"""Some samples of each class as they were cut: the whole image with window and outline, and the patch."""

import base64
from typing import Any

from lesionlens.records import ReportData
from lesionlens.reporting.gallery import outline
from lesionlens.reporting.models import Row, frame
from lesionlens.reporting.pictures import webp
from lesionlens.reporting.wording import SPLITS, count, plain
from lesionlens.samples.normalise import unpack_mask, unpack_pixels


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
        "facts": f"{plain(row['split'], SPLITS)}, window {count(width)} × {count(height)} pixels",
    }
