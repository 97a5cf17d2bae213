"""A detector on own films with boxes alone, from a COCO file to marks, FROC curves and a report."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image

from lesionlens.config.data import DataConfig, ImageConfig, SplitConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import DetectorConfig, GridConfig, HyperSet, StoppingConfig, TrainingConfig
from tests.system.conftest import Home

pytestmark = pytest.mark.slow


def draw(root: Path) -> Path:
    """24 films of 24 patients with a bright square each, large where malignant; no masks."""
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for n in range(24):
        grey = rng.integers(30, 70, (96, 64)).astype(np.uint8)
        side = 20 if n % 2 else 12
        x, y = (int(each) for each in rng.integers(4, 40, 2))
        grey[y : y + side, x : x + side] += 120
        Image.fromarray(grey).save(root / f"{n:02d}.png")
        images.append({"id": n, "file_name": f"{n:02d}.png", "width": 64, "height": 96, "patient": f"P{n}"})
        annotations.append({"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [x, y, side, side]})
    categories = [{"id": 1, "name": "BENIGN"}, {"id": 2, "name": "MALIGNANT"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "lesions.coco.json").write_text(json.dumps(content))
    return root


def study(root: Path) -> StudyConfig:
    return StudyConfig(
        name="boxes",
        data=DataConfig(root=root),
        unit="image",
        images=ImageConfig(height=96, width=64),
        split=SplitConfig(rule="sound"),
        training=TrainingConfig(
            weights="none",
            augment="flips",
            detector=DetectorConfig(channels=32),
            stopping=StoppingConfig(patience=2, max_epochs=2),
        ),
        grid=GridConfig(
            system="detector",
            backbones=("resnet18",),
            strategies=("simultaneous",),
            sets=(HyperSet(batch_size=4, head_rate=1e-3, unit1_rate=1e-3),),
        ),
        evaluation=EvaluationConfig(methods=("boxes",), resamples=100, randomisation_samples=0),
    )


def rows(home: Home, query: str) -> list[dict[str, str | None]]:
    """What the record answers, as text."""
    return home.sql(query).to_dicts()


def assert_other_programs_find_the_same(home: Home, place: Path) -> None:
    """Lesions and marks leave as COCO JSON and give the record's AP; a study of patches has none to give."""
    done = home.run("commands", "results", "boxes", "--format", "coco", "--to", str(place))
    assert done.returncode == 0, done.stderr
    stored = rows(home, "SELECT run_id, method, value FROM detection_scores WHERE criterion = 'iou_0.2'"
                        " AND measure = 'average_precision'")  # fmt: skip
    assert len(stored) == 2
    for row in stored:
        truth = COCO(str(place / "lesions.json"))
        judged = COCOeval_faster(
            truth, truth.loadRes(str(place / f"marks-{row['run_id']}-{row['method']}.json")), "bbox"
        )
        judged.params.iouThrs, judged.params.useCats = np.array([0.2]), 0
        judged.evaluate()
        judged.accumulate()
        assert judged.eval["precision"][0, :, 0, 0, -1].mean() == pytest.approx(float(str(row["value"])))


def test_boxes_alone_are_enough_for_a_detector(new_home: Callable[..., Home], tmp_path: Path) -> None:
    home = new_home(thin=True)
    done = home.study(study(draw(tmp_path / "own")))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    epochs = rows(home, "SELECT validation_accuracy, validation_froc FROM learning_curves ORDER BY epoch")
    assert [row["validation_accuracy"] for row in epochs] == [None, None]
    assert all(0 <= float(row["validation_froc"]) <= 1 for row in epochs)
    marks = rows(home, "SELECT * FROM marks")
    assert {row["method"] for row in marks} == {"boxes", "bright_blob"}
    assert all(0 <= float(row["x0"]) <= float(row["x1"]) <= 64 for row in marks if row["method"] == "boxes")
    # every lesion is the brightest place of its film: at most 1 false mark is surer
    curve = rows(
        home,
        "SELECT method, sensitivity, n FROM froc_curves"
        " WHERE criterion = 'centre' AND group_name = 'all' AND false_marks = 4",
    )
    films = home.count("SELECT count(*) FROM samples WHERE split = 'test'")
    assert {row["method"]: int(row["n"]) for row in curve} == {"boxes": films, "bright_blob": films}
    assert {row["method"]: float(row["sensitivity"]) for row in curve}["bright_blob"] == 1.0
    measures = {row["measure"] for row in rows(home, "SELECT measure FROM detection_scores WHERE method = 'boxes'")}
    assert {"sensitivity", "difference", "average_precision"} <= measures
    predictions = rows(home, "SELECT confidence FROM sample_results")
    assert len(predictions) == films and all(math.isfinite(float(row["confidence"])) for row in predictions)
    assert_other_programs_find_the_same(home, tmp_path / "coco")
    page = next((home.path / "reports").glob("*.html")).read_text()
    assert 'id="froc-curves-title"' in page
