"""Evaluation on a real record: every method of the configuration, both classes, scored anew from the stored grids."""

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Engine

from db import read, write
from db.frames import frame
from lesionlens.config import (
    DataConfig,
    EvaluationConfig,
    ExecutionConfig,
    GridConfig,
    HyperSet,
    Method,
    StoppingConfig,
    StudyConfig,
    TrainingConfig,
)
from lesionlens.evaluation.localise import score_grids
from lesionlens.identity import digest
from lesionlens.records import Box, DatasetIndex, Image, Label, Lesion, Patch, Statistics
from tasks.evaluate import audit_shortcuts, compare_runs, evaluate_run
from tasks.patches import patches_of
from tasks.train import train_run

METHODS: tuple[Method, ...] = get_args(Method)
SAME_AT_BLOCK = ("grad_cam", "hires_cam")
BASELINES = ("whole_patch", "centred_disc", "mean_mask")
LABELS = (
    Label("B", "background", "background", 0, False),
    Label("BM", "benign mass", "mass", 1, True),
    Label("MM", "malignant mass", "mass", 2, True),
)
PARTS = ("train",) * 12 + ("validation",) * 3 + ("test",) * 3
CPU = ExecutionConfig(device="cpu")
CONFIG = StudyConfig(
    name="methods",
    data=DataConfig(source="phantom"),
    training=TrainingConfig(weights="none", stopping=StoppingConfig(max_epochs=1)),
    grid=GridConfig(
        backbones=("resnet18",), strategies=("simultaneous",), sets=(HyperSet(batch_size=8, head_rate=1e-3),)
    ),
    evaluation=EvaluationConfig(methods=METHODS, resamples=100, randomisation_samples=2),
)


def patches() -> list[Patch]:
    """64 x 64 noise, two patches a patient; bright squares are lesions."""
    random = np.random.default_rng(0)
    made = []
    for n, part in enumerate(PARTS):
        label, grey = LABELS[n % 3], random.integers(20, 90, (64, 64), dtype=np.uint8)
        mask = None
        if label.is_lesion:
            mask = np.zeros((64, 64), dtype=np.bool_)
            row, column = random.integers(0, 40, 2)
            mask[row : row + 20, column : column + 20] = True
            grey[mask] += np.uint8(60 * label.ordinal)
        made.append(
            Patch(
                f"patch {n}", label.code, f"image {n}", f"lesion {n}" if mask is not None else None, f"P_{n // 2:05d}",
                part, Box(0, 0, 64, 64), Box(8, 8, 28, 28) if mask is not None else None,
                None if mask is None else float(mask.mean()), grey, mask,
            )
        )  # fmt: skip
    return made


@pytest.fixture
def trained(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """A study of one run, trained for one epoch: its number and the run's."""
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    patches_of.cache_clear()
    made = patches()
    images = tuple(Image(p.image_key, p.patient, f"{n}.jpg") for n, p in enumerate(made))
    lesions = tuple(
        Lesion(p.lesion_key, p.image_key, "mass", "MALIGNANT" if p.label == "MM" else "BENIGN", p.label, None)
        for p in made
        if p.lesion_key
    )
    index = DatasetIndex("noise", "phantom", digest("noise"), LABELS, images, lesions)
    with engine.begin() as connection:
        dataset = write.save_dataset(connection, index, "/data")
        grey = [Statistics(None, 0.3, 0.2)]
        patch_set = write.save_patch_set(connection, dataset, digest("noise patches"), {}, 64, made, [], [], grey)
        study = write.save_study(connection, digest("study"), "methods", {}, digest("e"), patch_set, {})
        (run,) = CONFIG.grid.runs()
        number = write.save_run(connection, study, digest(run, CONFIG.training), patch_set, run, CONFIG.training)
    with disable_run_logger():
        assert train_run.fn(number, "resnet18", CPU, datetime.now(UTC)) == "finished"
    return study, number


@pytest.mark.slow
def test_every_method_and_class_is_in_the_record_and_scored_anew_without_a_model(
    engine: Engine, trained: tuple[int, int]
) -> None:
    study, run = trained
    with disable_run_logger():
        assert [evaluate_run.fn(run, "resnet18", CONFIG, CPU) for _ in range(2)] == ["finished"] * 2
        assert compare_runs.fn(study, CONFIG) == 0  # one run has no other
        assert [audit_shortcuts.fn(study, CONFIG) for _ in range(2)] == [True, False]
    with engine.connect() as connection:
        explained = frame(connection, "SELECT patch_id, method, target, rows, cols, grid FROM explanation")
        located = frame(connection, "SELECT patch_id, method, target, policy, iou FROM localization")
        patches = patches_of(read.study_patch_set(connection, study)).part("test")
    expected = {(method, target) for method in METHODS for target in ("predicted", "true")}
    expected |= {(method, "none") for method in BASELINES} | {("random_weights", "predicted")}
    assert explained["patch_id"].n_unique() == len(patches.ids) == PARTS.count("test")
    assert explained.select("method", "target").n_unique() * len(patches.ids) == explained.height
    assert set(explained.select("method", "target").rows()) == expected
    for (method, target), rows in explained.sort("patch_id").group_by("method", "target"):
        found = located.filter(method=method, target=target).sort("patch_id")
        if target == "none":
            assert set(found["policy"]) == {"mask"} and rows["grid"].null_count() == rows.height
            continue
        assert set(found["policy"]) == {"fixed", "otsu", "validation", "area"}
        grids = np.array(rows["grid"].to_list(), dtype=np.float32).reshape(-1, rows["rows"][0], rows["cols"][0])
        again = score_grids(grids, patches.masks, "relu_max", 0.5)
        for policy, iou in (("fixed", again.fixed_iou), ("otsu", again.otsu_iou), ("area", again.area_iou)):
            stored = found.filter(policy=policy)["iou"].fill_null(np.nan).to_numpy()
            np.testing.assert_allclose(stored, iou, atol=1e-6, err_msg=f"{method} {target} {policy}")
    # Behind average pooling and one linear layer, HiResCAM at the last block is Grad-CAM: two ways to one map.
    ways = [explained.filter(method=m, target="true").sort("patch_id")["grid"].to_list() for m in SAME_AT_BLOCK]
    np.testing.assert_allclose(*ways, atol=1e-4 * np.abs(ways[0]).max())
