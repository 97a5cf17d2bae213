"""Pictures of samples: the gallery and its examples as compact JSON, and the contact sheet of whole images."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from lesionlens.images.image import encode_webp
from lesionlens.records import ReportData
from lesionlens.reporting.cases.marks import film_marks
from lesionlens.reporting.data import Model, Part, Row, common_unit, frame, headline_method, lookup, unit
from lesionlens.reporting.formatting import METHODS, SPLITS, count, term
from lesionlens.reporting.tables.evidence import QUADRANTS, filters, with_subgroups
from lesionlens.samples.normalise import unpack_mask, unpack_pixels

BYTES = 12_000_000
"""What a gallery may take of a page of 15 MB: charts, tables and contact sheets need well under 3."""
SHOWN = 6
"""Examples of each quadrant."""
TOLERANCE = 0.4
"""Pixels by which an outline may miss the mask."""
METHOD_BYTES = BYTES // 2
"""Of these what the maps of other methods may take."""
FILM = 400
"""Longer side of a film's picture in pixels at most."""
QUALITY = 72
LEVELS = ((QUALITY, 1), (50, 1), (30, 1), (30, 2), (20, 4))
"""WebP quality, and by how much the sides shrink: tried in turn until all pictures fit."""


def gallery(data: ReportData, models: Sequence[Model]) -> dict[str, Any]:
    """`runs`, `classes`, `subgroups`, `samples` in the record's order; per sample one result per model. `method`: the
    headline's name; the result of the model with the lowest validation loss has `methods`, the maps of all others.

    Pictures take what the rest leaves of BYTES; `reduced`: at less than the usual quality.

    A sample: key (permanent), image (WebP data URI), width and height of its mask, outline (SVG path in its pixels, ''
    for background), and results by run id with the scaled map as base64 of uint8 [rows x cols] and what `film_marks`
    gives. `marked`: whether anything marks.
    """
    labels = frame(data, "labels").sort("ordinal")
    names = dict(labels.select("code", "name").rows())
    known = {model.run_id: model for model in models}
    results = frame(data, "sample_results").filter(pl.col("run_id").is_in(list(known)))
    results = with_subgroups(data, results)
    by_patch = results.partition_by("sample_id", as_dict=True, maintain_order=True)
    maps, others, marked = _maps(data), _method_maps(data), film_marks(data)
    samples, patches = [], []
    for row in frame(data, "gallery").iter_rows(named=True):
        found = by_patch.get((row["sample_id"],))
        if found is not None:
            patches.append(shown(unpack_pixels(row["pixels"], (row["height"], row["width"])), row["scale"]))
            samples.append(_sample(row, found.to_dicts(), names, maps, others, marked))
    images, reduced = pictures(patches, BYTES - len(json.dumps(samples)))
    return {
        "runs": [
            {"id": model.run_id, "title": model.title, "short": model.short, "series": model.series % 8}
            for model in known.values()
        ],
        "classes": [{"code": code, "name": name} for code, name in names.items()],
        "samples": [sample | {"image": image} for image, sample in zip(images, samples, strict=True)],
        "subgroups": filters(samples),
        "marked": bool(marked),
        "reduced": reduced,
        "method": term(headline_method(data), METHODS),
        "unit": unit(data)[0],
        "units": unit(data)[1],
    }


def _sample(
    row: dict[str, Any],
    results: list[dict[str, Any]],
    names: dict[str, str],
    maps: dict[tuple[int, int], Any],
    others: dict[tuple[int, int], list[Any]],
    marked: dict[tuple[int, int], dict[str, Any]],
) -> dict[str, Any]:
    first, (height, width) = results[0], (row["height"] // row["scale"], row["width"] // row["scale"])
    return {
        "image": "",
        "key": first["sample_key"],
        "width": width,
        "height": height,
        "outline": outline(unpack_mask(row["mask"], (height, width))) if row["mask"] is not None else "",
        "code": first["true_code"],
        "label": names.get(first["true_code"], first["true_code"]),
        "facts": _facts(first),
        "groups": first["groups"],
        "fraction": _rounded(first["mask_fraction"]),
        "results": {
            str(result["run_id"]): {
                "predicted": names.get(result["predicted_code"], result["predicted_code"]),
                "to": result["predicted_code"],
                "correct": result["correct"],
                "confidence": _rounded(result["confidence"]),
                "iou": _rounded(result["iou"]),
                "threshold": _rounded(result["threshold"]),
                "whole": _rounded(result["whole_patch_iou"]),
                "hit": result["hit"],
                "map": maps.get((result["run_id"], row["sample_id"])),
                "methods": others.get((result["run_id"], row["sample_id"]), []),
                **marked.get((result["run_id"], row["sample_id"]), {}),
            }
            for result in results
        },
    }


def _facts(row: dict[str, Any]) -> list[list[str]]:
    words = (
        ("Patient", "patient"),
        ("Side", "laterality"),
        ("View", "view"),
        ("Lesion", "lesion_key"),
        ("Image", "image_key"),
        ("Breast density", "breast_density"),
        ("Subtlety", "subtlety"),
    )
    return [[name, str(row[column])] for name, column in words if row[column] is not None]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _maps(data: ReportData) -> dict[tuple[int, int], dict[str, Any]]:
    """Maps by run and patch: their size, and their values as base64 of uint8 [rows x cols]."""
    rows = frame(data, "maps").drop_nulls("grid").iter_rows(named=True)
    return {(row["run_id"], row["sample_id"]): _map(data, row) for row in rows}


def _method_maps(data: ReportData) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """The maps of other methods than the headline's by run and patch, as many patches as METHOD_BYTES admit."""
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    room = METHOD_BYTES
    for row in frame(data, "method_maps").iter_rows(named=True):
        numbers = {name: _rounded(row[name]) for name in ("iou", "threshold")}
        shown = {"name": term(row["method"], METHODS), "hit": row["hit"], "map": _map(data, row)} | numbers
        room -= len(json.dumps(shown))
        if room < 0:
            break
        found.setdefault((row["run_id"], row["sample_id"]), []).append(shown)
    return found


def _map(data: ReportData, row: Row) -> dict[str, Any]:
    scaling = lookup(data.study.get("config"), "evaluation.scaling") or "relu_max"
    grid = np.asarray(row["grid"], dtype=np.float64).reshape(row["rows"], row["cols"])
    values = base64.b64encode(quantised(grid, scaling).tobytes()).decode()
    return {"rows": row["rows"], "cols": row["cols"], "values": values}


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


def merged_gallery(parts: Sequence[Part]) -> dict[str, Any]:
    """As `gallery`: a patch that several studies tested stands once, with the results of all their models.

    Studies share patches where they share the sample set. Where they do not, a patch's key begins with its study's
    name, so that a link to it lasts. Runs are known by study and number: one run may be evaluated in two ways.
    """
    sets = {str(data.study["sample_set_digest"]) for data, _, _ in parts}
    runs: list[dict[str, Any]] = []
    classes: dict[str, dict[str, str]] = {}
    samples: dict[tuple[str, str], dict[str, Any]] = {}
    reduced = marked = False
    for data, name, models in parts:
        found, number = gallery(data, models), data.study["id"]
        reduced, marked = reduced or found["reduced"], marked or found["marked"]
        for run in found["runs"]:
            title = f"{run['title']} · {name}"
            runs.append(run | {"id": f"{number}.{run['id']}", "title": title, "series": len(runs) % 8})
        classes |= {each["code"]: each for each in found["classes"]}
        for sample in found["samples"]:
            key = sample["key"] if len(sets) == 1 else f"{name}: {sample['key']}"
            kept = samples.setdefault((str(data.study["sample_set_digest"]), key), sample | {"key": key, "results": {}})
            kept["results"] |= {f"{number}.{run}": result for run, result in sample["results"].items()}
    shown = list(samples.values())
    return {"runs": runs, "classes": list(classes.values()), "samples": shown, "reduced": reduced} | {
        "subgroups": filters(shown),
        "marked": marked,
        "method": found["method"],
        **common_unit(parts),
    }


def examples(data: ReportData, models: Sequence[Model]) -> dict[str, list[list[str]]]:
    """Patch keys by run, a list for each of QUADRANTS: at most SHOWN, the most confident prediction first.

    Over all lesion classes; without models that have no map of a lesion.
    """
    result = {}
    lesions = frame(data, "sample_results").filter(pl.col("hit").is_not_null())
    sure = lesions.sort("confidence", "sample_id", descending=[True, False], nulls_last=True)
    for model in models:
        of_run = sure.filter(run_id=model.run_id)
        if of_run.height:
            result[str(model.run_id)] = [
                of_run.filter(correct=correct, hit=located)["sample_key"].head(SHOWN).to_list()
                for correct, located in QUADRANTS
            ]
    return result


def shown(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """A sample uint8 [h, w] at the size at which a page shows it: a patch (`scale` 1) as it is, a film smaller."""
    shrink = 1 if scale == 1 else -(-max(pixels.shape) // FILM)
    return np.asarray(Image.fromarray(pixels).reduce(shrink))


def pictures(patches: Sequence[NDArray[np.uint8]], room: int) -> tuple[list[str], bool]:
    """Data URIs of grey samples uint8 [h, w] that have at most `room` characters together, and whether that took
    less than the usual quality. The smallest level is taken as it comes.
    """
    found: list[str] = []
    for quality, shrink in LEVELS:
        found = [webp(patch, quality, shrink) for patch in patches]
        if sum(map(len, found)) <= room:
            return found, (quality, shrink) != LEVELS[0]
    return found, True


def webp(pixels: NDArray[np.uint8], quality: int = QUALITY, shrink: int = 1) -> str:
    """A grey sample uint8 [h, w] as a WebP data URI, its sides divided by `shrink`."""
    if shrink > 1:
        pixels = np.asarray(Image.fromarray(pixels).reduce(shrink))
    return "data:image/webp;base64," + base64.b64encode(encode_webp(pixels, quality)).decode()


def outline(mask: NDArray[np.bool_]) -> str:
    """The outline of a mask bool [h, w] as SVG path data in its pixels; '' for an empty mask."""
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
    width, height in its pixels), `outline` (SVG path in pixels of the mask, '' for none), `rows` and
    `columns` of the mask, and `facts`.
    """
    found = frame(data, "contact_sheet").partition_by("code", as_dict=True, maintain_order=True)
    return [
        {"name": sheet["name"][0], "samples": [_in_image(row, unit(data)[0]) for row in sheet.iter_rows(named=True)]}
        for sheet in found.values()
    ]


def _in_image(row: Row, sample: str) -> dict[str, Any]:
    size = row["sample_height"], row["sample_width"]
    pixels = shown(unpack_pixels(row["pixels"], size), row["scale"])
    rows, columns = (side // row["scale"] for side in size)
    width, height = row["window_x1"] - row["window_x0"], row["window_y1"] - row["window_y0"]
    lesion = row["mask"] is not None
    drawn = "the window and the annotation are" if lesion else "the window is"
    where = " ".join(word for word in (row["laterality"], row["view"]) if word)
    of = f"patient {row['patient']}{', ' + where if where else ''}"
    return {
        "whole": "data:image/webp;base64," + base64.b64encode(row["overview"]).decode(),
        "whole_text": f"Whole image of {of}, {row['name']}; {drawn} drawn on it",
        "patch": webp(pixels),
        "patch_text": f"The {sample} cut from it{', with the annotation' if lesion else ''}",
        "width": row["width"],
        "height": row["height"],
        "window": (row["window_x0"], row["window_y0"], width, height),
        "outline": outline(unpack_mask(row["mask"], (rows, columns))) if lesion else "",
        "rows": rows,
        "columns": columns,
        "title": row["patient"],
        "where": where,
        "facts": f"{term(row['split'], SPLITS)}, window {count(width)} × {count(height)} pixels",
    }
