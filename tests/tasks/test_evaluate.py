"""Evaluation on a real record: every method of the configuration, both classes, scored anew from the stored grids."""

from datetime import UTC, datetime
from typing import get_args

import numpy as np
import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, select

from db import studies
from db.bulk import frame
from db.tables.evaluation import evaluation
from lesionlens import evaluate as revision
from lesionlens.config import ExecutionConfig, Method, StudyConfig
from lesionlens.localization.metrics import score_grids
from tasks.evaluate import audit_shortcuts, compare_runs, evaluate_run, plan_evaluations
from tasks.patches import patches_of
from tasks.study import missing_runs
from tasks.train import train_run

METHODS: tuple[Method, ...] = get_args(Method)
SAME_AT_BLOCK = ("grad_cam", "hires_cam")
CPU = ExecutionConfig(device="cpu")
Trained = tuple[StudyConfig, int, int]


@pytest.fixture
def trained(planned: Trained) -> Trained:
    """A study of one run, trained for one epoch: its configuration, its number and the run's."""
    with disable_run_logger():
        assert train_run.fn(planned[2], "resnet18", CPU, datetime.now(UTC)) == "finished"
    return planned


@pytest.mark.slow
def test_every_method_and_class_is_in_the_record_and_scored_anew_without_a_model(
    engine: Engine, trained: Trained
) -> None:
    config, study, run = trained
    with disable_run_logger():
        assert [evaluate_run.fn(run, "resnet18", config, CPU) for _ in range(2)] == ["finished"] * 2
        assert compare_runs.fn(study, config) == 0  # one run has no other
        assert [audit_shortcuts.fn(study, config) for _ in range(2)] == [True, False]
    with engine.connect() as connection:
        explained = frame(connection, "SELECT sample_id, method, target, rows, cols, grid FROM activation_map")
        located = frame(connection, "SELECT sample_id, method, target, policy, iou FROM localization")
        patches = patches_of(studies.study_row(connection, study).sample_set_id).split("test")
    expected = {(method, target) for method in METHODS for target in ("predicted", "true")}
    expected |= {(method, "none") for method in BASELINES} | {("random_weights", "predicted")}
    assert explained["sample_id"].n_unique() == len(patches.ids) == 3
    assert explained.select("method", "target").n_unique() * len(patches.ids) == explained.height
    assert set(explained.select("method", "target").rows()) == expected
    for (method, target), rows in explained.sort("sample_id").group_by("method", "target"):
        found = located.filter(method=method, target=target).sort("sample_id")
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
    ways = [explained.filter(method=m, target="true").sort("sample_id")["grid"].to_list() for m in SAME_AT_BLOCK]
    np.testing.assert_allclose(*ways, atol=1e-4 * np.abs(ways[0]).max())


@pytest.mark.slow
def test_what_an_older_version_evaluated_is_kept_and_evaluated_anew(
    engine: Engine, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, study, run = trained
    quick = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"methods": ("grad_cam",)})})

    def evaluated() -> list[int]:
        with disable_run_logger():
            plan_evaluations.fn(study, quick)
            assert evaluate_run.fn(run, "resnet18", quick, CPU) == "finished"
            audit_shortcuts.fn(study, quick)
        with engine.connect() as connection:
            assert studies.runs_to_evaluate(connection, study) == []
            assert frame(connection, "SELECT DISTINCT evaluation_id FROM study_evaluations").height == 1
            assert frame(connection, "SELECT * FROM shortcut_audit").height == 5
            return list(connection.scalars(select(evaluation.c.id).order_by(evaluation.c.id)))

    monkeypatch.setattr(revision, "REVISION", 1)
    first = evaluated()
    assert len(first) == 1 and evaluated() == first
    monkeypatch.setattr(revision, "REVISION", 2)
    with disable_run_logger():
        plan_evaluations.fn(study, quick)
        assert [number for number, _ in missing_runs.fn("evaluate", study, quick, datetime.now(UTC))] == [run]
    again = evaluated()
    assert len(again) == 2 and again[0] == first[0]
    monkeypatch.setattr(revision, "REVISION", 1)  # a machine that was not updated
    with disable_run_logger(), pytest.raises(ValueError, match="install the same on all machines"):
        missing_runs.fn("evaluate", study, quick, datetime.now(UTC))
    with disable_run_logger(), pytest.raises(ValueError, match="no study 99"):
        plan_evaluations.fn(99, quick)
