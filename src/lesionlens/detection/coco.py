"""Marks and lesions as COCO JSON, which other detection tools read."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter

from lesionlens.detection.marks import NO_LABEL, Lesions, Marks, lesions_of, marks_of


class _Result(BaseModel):
    model_config = ConfigDict(extra="ignore")

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


_RESULTS = TypeAdapter(list[_Result])


def coco_files(
    films: pl.DataFrame, lesions: pl.DataFrame, marks: pl.DataFrame, classes: pl.DataFrame
) -> dict[str, object]:
    """COCO's documents by name: `lesions`, and the results of every run and method, `marks-<run>-<method>`.

    films: sample_id, key, height, width; lesions: sample_id, ordinal, x0 to y1; marks: run_id, method, sample_id,
    ordinal (null of a method without classes), x0 to y1, score; classes: name, in their order. Boxes are in the
    sample's pixels.
    """
    ids = films["sample_id"].to_numpy()
    size = (int(films["height"][0]), int(films["width"][0]))
    names, kinds = films["key"].to_list(), classes["name"].to_list()
    annotated = coco_annotations(lesions_of(lesions, ids), ids, names, size, kinds)
    documents: dict[str, object] = {"lesions": annotated}
    if marks["ordinal"].null_count():  # readers leave out results of a category that is not listed
        annotated["categories"].append({"id": NO_LABEL + 1, "name": "lesion of any class"})
    for (run_id, method), own in marks.group_by("run_id", "method", maintain_order=True):
        documents[f"marks-{run_id}-{method}"] = coco_results(marks_of(own, ids), ids)
    return documents


def coco_results(marks: Marks, ids: NDArray[np.int64]) -> list[dict[str, object]]:
    """Marks as COCO's results: image_id (ids int64 [films]), category_id (label + 1, 0 for a method without), bbox
    (x, y, width, height), score."""
    sizes = np.concatenate([marks.boxes[:, :2], marks.boxes[:, 2:] - marks.boxes[:, :2]], axis=1)
    return [
        {"image_id": int(ids[film]), "category_id": int(label) + 1, "bbox": box, "score": float(score)}
        for film, label, box, score in zip(marks.film, marks.labels, sizes.tolist(), marks.scores, strict=True)
    ]


def coco_annotations(
    lesions: Lesions,
    ids: NDArray[np.int64],
    names: Sequence[str],
    size: tuple[int, int],
    classes: Sequence[str],
) -> dict[str, list[dict[str, object]]]:
    """Lesions as COCO's annotations. ids int64 and names of films; size: height and width of each in pixels."""
    height, width = size
    sizes = lesions.boxes[:, 2:] - lesions.boxes[:, :2]
    return {
        "images": [
            {"id": int(key), "file_name": name, "width": width, "height": height}
            for key, name in zip(ids, names, strict=True)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": int(ids[film]),
                "category_id": int(label) + 1,
                "bbox": [*map(float, box[:2]), *map(float, side)],
                "area": float(side.prod()),
                "iscrowd": 0,
            }
            for i, (film, label, box, side) in enumerate(
                zip(lesions.film, lesions.labels, lesions.boxes, sizes, strict=True), start=1
            )
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
    }


def read_coco_results(path: Path, ids: NDArray[np.int64]) -> Marks:
    """COCO's results as marks on the films `ids` int64 [films]; x1 and y1 are exact to rounding.

    ValueError where the file is no list of results, or one of them is of no such film.
    """
    try:
        found = _RESULTS.validate_python(json.loads(path.read_text()))
    except ValueError as error:
        raise ValueError(f"{path} is not COCO's list of results: {error}") from error
    places = {int(key): i for i, key in enumerate(ids)}
    strange = sorted({each.image_id for each in found} - places.keys())
    if strange:
        raise ValueError(f"{path} has a result of image_id {strange[0]}, which no film has: export both from one study")
    boxes = np.array([each.bbox for each in found], dtype=np.float64).reshape(-1, 4)
    return Marks(
        np.array([places[each.image_id] for each in found], dtype=np.int64),
        np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
        np.array([each.score for each in found], dtype=np.float64),
        np.array([each.category_id - 1 for each in found], dtype=np.int64),
    )
