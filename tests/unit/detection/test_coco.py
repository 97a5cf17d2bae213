"""COCO JSON out and in again, and as other programs read it."""

import json
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image

from lesionlens.datasets.coco import read_coco
from lesionlens.detection.coco import coco_annotations, coco_results, read_coco_results
from lesionlens.detection.precision import average_precisions
from tests.unit.detection.films import drawn_lesions, drawn_marks, joined, on_every

IDS = np.array([40, 12, 7, 99])


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_marks_come_back_as_they_went(tmp_path: Path) -> None:
    lesions = drawn_lesions(4, 3, seed=1)
    marks = joined(on_every(lesions), drawn_marks(4, 5, seed=2))
    found = read_coco_results(written(tmp_path, "marks.json", coco_results(marks, IDS)), IDS)
    assert np.array_equal(found.film, marks.film) and np.array_equal(found.labels, marks.labels)
    assert np.array_equal(found.scores, marks.scores)
    assert found.boxes == pytest.approx(marks.boxes, abs=1e-9)


def test_other_programs_read_lesions_and_marks(tmp_path: Path) -> None:
    lesions = drawn_lesions(4, 3, seed=3)
    marks = on_every(lesions)
    annotated = coco_annotations(lesions, IDS, list("abcd"), (100, 100), ("BENIGN", "MALIGNANT"))
    truth = COCO(str(written(tmp_path, "lesions.json", annotated)))
    found = truth.loadRes(str(written(tmp_path, "marks.json", coco_results(marks, IDS))))
    judged = COCOeval_faster(truth, found, "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert judged.stats[1] == pytest.approx(average_precisions(marks, lesions, 4, by_class=True)[0.5])


def test_lesions_come_back_as_a_data_set(tmp_path: Path) -> None:
    lesions = drawn_lesions(4, 3, seed=5)
    names = [f"{name}.png" for name in "abcd"]
    for name in names:
        Image.new("L", (100, 100)).save(tmp_path / name)
    written(tmp_path, "lesions.coco.json", coco_annotations(lesions, IDS, names, (100, 100), ("BENIGN", "MALIGNANT")))
    index = read_coco(tmp_path)
    for film, name in enumerate(names):
        found = [lesion for lesion in index.lesions if lesion.image_key == name]
        corners = [np.array(lesion.outline.polygons[0]) for lesion in found]
        boxes = [[*points.min(axis=0), *points.max(axis=0)] for points in corners]
        assert np.array(boxes).reshape(-1, 4) == pytest.approx(lesions.boxes[lesions.film == film])
        assert [lesion.label for lesion in found] == [
            ("BENIGN", "MALIGNANT")[i] for i in lesions.labels[lesions.film == film]
        ]


def test_results_of_other_films_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "marks.json", coco_results(drawn_marks(4, 1, seed=4), IDS))
    with pytest.raises(ValueError, match="image_id 99"):
        read_coco_results(path, IDS[:3])
    with pytest.raises(ValueError, match="not COCO's list"):
        read_coco_results(written(tmp_path, "other.json", {"images": []}), IDS)
    assert len(read_coco_results(written(tmp_path, "none.json", []), IDS).film) == 0
