"""What the gallery shows, as compact JSON: images at display size, outlines as paths, maps as small numbers."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours

from lesionlens.records import ReportData
from lesionlens.reporting.models import Model, frame, lookup
from lesionlens.reporting.pictures import pictures
from lesionlens.samples.normalise import unpack_mask, unpack_pixels

BYTES = 12_000_000
"""What a gallery may take of a page of 15 MB: charts, tables and contact sheets need well under 3."""
TOLERANCE = 0.4


def gallery(data: ReportData, models: Sequence[Model]) -> dict[str, Any]:
    """`runs`, `classes`, `samples` in the record's order; per sample one result per model.

    Pictures take what the rest leaves of BYTES; `reduced`: at less than the usual quality.

    A sample: key (permanent), image (WebP data URI), size, outline (SVG path in pixels, '' for background), and
    results by run id with the scaled map as base64 of uint8 [rows x cols].
    """
    labels = frame(data, "labels").sort("ordinal")
    names = dict(labels.select("code", "name").rows())
    known = {model.run_id: model for model in models}
    results = frame(data, "sample_results").filter(pl.col("run_id").is_in(list(known)))
    by_patch = results.partition_by("sample_id", as_dict=True, maintain_order=True)
    maps = _maps(data, results)
    samples, patches = [], []
    for row in frame(data, "gallery").iter_rows(named=True):
        found = by_patch.get((row["sample_id"],))
        if found is not None:
            patches.append(unpack_pixels(row["pixels"]))
            samples.append(_sample(row, len(patches[-1]), found.to_dicts(), names, maps))
    images, reduced = pictures(patches, BYTES - len(json.dumps(samples)))
    return {
        "runs": [
            {"id": model.run_id, "title": model.title, "short": model.short, "series": model.series % 8}
            for model in known.values()
        ],
        "classes": [{"code": code, "name": name} for code, name in names.items()],
        "samples": [sample | {"image": image} for image, sample in zip(images, samples, strict=True)],
        "reduced": reduced,
    }


def _sample(
    row: dict[str, Any],
    size: int,
    results: list[dict[str, Any]],
    names: dict[str, str],
    maps: dict[tuple[int, int], Any],
) -> dict[str, Any]:
    first = results[0]
    return {
        "image": "",
        "key": first["patch_key"],
        "size": size,
        "outline": outline(unpack_mask(row["mask"], size)) if row["mask"] is not None else "",
        "code": first["true_code"],
        "label": names.get(first["true_code"], first["true_code"]),
        "facts": _facts(first),
        "fraction": _rounded(first.get("mask_fraction")),
        "results": {
            str(result["run_id"]): {
                "predicted": names.get(result["predicted_code"], result["predicted_code"]),
                "correct": result["correct"],
                "confidence": _rounded(result.get("confidence")),
                "iou": _rounded(result["iou"]),
                "threshold": _rounded(result.get("threshold")),
                "whole": _rounded(result.get("whole_patch_iou")),
                "hit": result.get("hit"),
                "map": maps.get((result["run_id"], row["sample_id"])),
            }
            for result in results
        },
    }


def _facts(row: dict[str, Any]) -> list[list[str]]:
    words = (
        ("Patient", row.get("patient")),
        ("Side", row.get("laterality")),
        ("View", row.get("view")),
        ("Lesion", row.get("lesion_key")),
        ("Image", row.get("image_key")),
        ("Breast density", row.get("breast_density")),
        ("Subtlety", row.get("subtlety")),
    )
    return [[name, str(value)] for name, value in words if value is not None]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def outline(mask: NDArray[np.bool_]) -> str:
    """The outline of a mask bool [s, s] as SVG path data in pixels of the patch; '' for an empty mask."""
    mask = np.pad(mask, 1)
    paths = []
    for contour in find_contours(mask.astype(np.float32), 0.5):  # type: ignore[no-untyped-call]
        points = approximate_polygon(contour, TOLERANCE) - 0.5  # type: ignore[no-untyped-call]
        if len(points) > 3:
            paths.append("M" + "L".join(f"{x:.1f} {y:.1f}" for y, x in points[:-1]) + "Z")
    return "".join(paths)


def _maps(data: ReportData, results: pl.DataFrame) -> dict[tuple[int, int], dict[str, Any]]:
    scaling = lookup(data.study.get("config"), "evaluation.scaling") or "relu_max"
    maps = frame(data, "maps").filter(pl.col("target") == "predicted")
    if "method" in results.columns:
        wanted = results.select("run_id", "sample_id", "method").unique()
        maps = maps.join(wanted, on=["run_id", "sample_id", "method"], how="semi")
    found = {}
    for row in maps.iter_rows(named=True):
        if row["grid"] is not None:
            grid = np.asarray(row["grid"], dtype=np.float64).reshape(row["rows"], row["cols"])
            values = base64.b64encode(quantised(grid, scaling).tobytes()).decode()
            found[row["run_id"], row["sample_id"]] = {"rows": row["rows"], "cols": row["cols"], "values": values}
    return found


def quantised(grid: NDArray[np.float64], scaling: str) -> NDArray[np.uint8]:
    """A raw grid [rows, cols] as uint8 steps that give the same scaled map after upsampling, to 1/255.

    relu_max: positive part over its maximum. minmax: the range. A blank map is all zeros.
    """
    finite = grid if np.isfinite(grid).all() else np.zeros_like(grid)
    if scaling == "minmax":
        low, span = finite.min(), np.ptp(finite)
    else:
        finite, low = np.maximum(finite, 0), 0.0
        span = finite.max()
    if span <= 0:
        return np.zeros(grid.shape, dtype=np.uint8)
    return np.asarray(np.rint((finite - low) / span * 255), dtype=np.uint8)
