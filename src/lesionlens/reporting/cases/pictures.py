"""This looks like that: pictures of prototypes, and what every test patch looks like, as compact JSON."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.cases.gallery import outline, pictures
from lesionlens.reporting.data import Model, frame
from lesionlens.samples.normalise import unpack_mask, unpack_pixels

BYTES = 2_000_000
"""What pictures of training patches may take of a page."""


def cases(data: ReportData, models: Sequence[Model]) -> dict[str, Any]:
    """`images`: WebP data URIs of training patches by key. `runs`, by run id: `title`; `prototypes`, those kept, with
    `number`, `code`, `label`, `key` of the training patch, its `height`, `width` and `outline`, `box` [x, y, width,
    height] in pixels of the place that the prototype is, `weights` by class, `near`, the most similar other training
    patches; `grid` [rows, columns]; `likeness`, by key of a test patch a list of [number, similarity, row, column].

    A model without prototypes is not among the runs.
    """
    labels = dict(frame(data, "labels").select("code", "name").rows())
    shown = frame(data, "cases")
    patches = shown.unique("sample_key", keep="first", maintain_order=True)
    pixels = {
        row["sample_key"]: unpack_pixels(row["pixels"], (row["height"], row["width"]))
        for row in patches.iter_rows(named=True)
    }
    drawn, _ = pictures(list(pixels.values()), BYTES)
    outlines = {
        row["sample_key"]: outline(unpack_mask(row["mask"], (row["height"], row["width"]))) if row["mask"] else ""
        for row in patches.iter_rows(named=True)
    }
    runs: dict[str, Any] = {}
    for model in models:
        own = frame(data, "prototypes").filter("kept", run_id=model.run_id)
        if own.is_empty():
            continue
        near = shown.filter(pl.col("place") > 0, run_id=model.run_id)
        prototypes = []
        for row in own.iter_rows(named=True):
            height, width = pixels[row["source_key"]].shape
            others = near.filter(pl.col("sample_key") != row["source_key"], number=row["number"]).head(5)
            prototypes.append(
                {
                    "number": row["number"],
                    "code": row["code"],
                    "label": labels.get(row["code"], row["code"]),
                    "key": row["source_key"],
                    "height": height,
                    "width": width,
                    "outline": outlines[row["source_key"]],
                    "box": place(row["row"], row["col"], row["rows"], row["cols"], (height, width)),
                    "weights": [round(weight, 3) for weight in row["weights"]],
                    "near": [
                        {
                            "key": key,
                            "label": labels.get(code, code),
                            "outline": outlines[key],
                            "height": pixels[key].shape[0],
                            "width": pixels[key].shape[1],
                        }
                        for key, code in others.select("sample_key", "code").rows()
                    ],
                }
            )
        runs[str(model.run_id)] = {
            "title": model.title,
            "prototypes": prototypes,
            "grid": [int(own["rows"][0]), int(own["cols"][0])],
            "likeness": _likeness(data, model.run_id),
        }
    return {"images": dict(zip(pixels, drawn, strict=True)) if runs else {}, "runs": runs}


def _likeness(data: ReportData, run_id: int) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {}
    matches = frame(data, "prototype_matches").filter(run_id=run_id)
    for key, *values in matches.select("sample_key", "number", "similarity", "row", "col").iter_rows():
        number, similarity, row, col = values
        found.setdefault(key, []).append([number, round(similarity, 4), row, col])
    return found


def place(row: int, col: int, rows: int, cols: int, shape: tuple[int, int]) -> list[float]:
    """The cell of a grid as [x, y, width, height] in pixels of a patch of that height and width.

    >>> place(1, 2, 4, 4, (96, 96))
    [48.0, 24.0, 24.0, 24.0]
    """
    down, across = shape[0] / rows, shape[1] / cols
    return [round(value, 2) for value in (col * across, row * down, across, down)]
