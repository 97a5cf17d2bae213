"""Evaluation on a real record: every method of the configuration, both classes, scored anew from the stored grids."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file
from sqlalchemy import Engine, text

from db import studies
from db.bulk import frame
from db.queries import work
from lesionlens.attribution import perturbation
from lesionlens.attribution.registry import METHODS as REGISTRY
from lesionlens.config import study as revision
from lesionlens.config.evaluation import ALL, EvaluationConfig, Method
from lesionlens.config.study import StudyConfig
from lesionlens.localization.metrics import score_grids
from lesionlens.models.backbones import BACKBONES
from lesionlens.models.classifier import Classifier
from tasks import evaluate, grid
from tasks.db_task import samples_of
from tasks.evaluate import audit_shortcuts, compare_runs, evaluate_run, plan_evaluations
from tasks.grid import Step, missing_runs
from tasks.train import train_run
from tests.record.tasks.conftest import STUDY, Planned

METHODS: tuple[Method, ...] = ALL
SAME_AT_BLOCK = ("grad_cam", "hires_cam")
BASELINES = ("whole_patch", "centred_disc", "mean_mask")
BOUNDED = [method for method, made in REGISTRY.items() if made.many]
QUESTIONS = ("class", "detection", "diagnosis")
FEATURES = ("intensity", "sharpness", "surroundings", "size")
ALL_METHODS = EvaluationConfig(methods=METHODS, resamples=100, randomisation_samples=2)


@pytest.fixture
def trained(plan: Callable[[StudyConfig], Planned]) -> Callable[[EvaluationConfig], Planned]:
    """Enters a study and trains its one run."""

    def make(evaluation: EvaluationConfig) -> Planned:
        planned = plan(STUDY.model_copy(update={"evaluation": evaluation}))
        plan_evaluations(planned.study_id)
        assert train_run.fn(planned.runs[0], "resnet18", datetime.now(UTC)) == "finished"
        return planned

    return make


@pytest.mark.slow
def test_every_method_and_class_is_in_the_record_and_scored_anew_without_a_model(
    engine: Engine, trained: Callable[[EvaluationConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perturbation, "SAMPLES", 16)
    planned = trained(ALL_METHODS)
    study, (run,) = planned.study_id, planned.runs
    assert [evaluate_run.fn(study, run, "resnet18", datetime.now(UTC)) for _ in range(2)] == ["finished"] * 2
    assert compare_runs.fn(study) == 0  # one run has no other
    assert [audit_shortcuts.fn(study) for _ in range(2)] == [True, False]
    with engine.connect() as connection:
        explained = frame(connection, "SELECT sample_id, method, target, rows, cols, grid, reason FROM activation_map")
        located = frame(connection, "SELECT sample_id, method, target, policy, threshold, iou FROM localization")
        samples = samples_of(studies.study_row(connection, study).sample_set_id).split("test")
    expected = {(method, target) for method in METHODS for target in ("predicted", "true")}
    expected |= {(method, "none") for method in (*BASELINES, "ceiling")}
    expected |= {("random_weights", "predicted"), ("dealt_maps", "predicted")}
    assert explained["sample_id"].n_unique() == len(samples.ids) == 3
    assert explained.select("method", "target").n_unique() * len(samples.ids) == explained.height
    assert set(explained.select("method", "target").rows()) == expected
    for (method, target), rows in explained.sort("sample_id").group_by("method", "target"):
        found = located.filter(method=method, target=target).sort("sample_id")
        assert set(found["policy"]) == ({"mask"} if target == "none" else {"fixed", "otsu", "validation", "area"})
        if method in (*BASELINES, "dealt_maps"):
            assert rows["grid"].null_count() == rows.height
            continue
        drawn = rows["grid"].is_not_null()
        assert drawn.all() or (method in BOUNDED and set(rows.filter(~drawn)["reason"]) == {"not_drawn"})
        rows, found = rows.filter(drawn), found.join(rows.filter(drawn), on="sample_id", how="semi")
        masks = samples.masks[drawn.to_numpy()]
        grids = np.array(rows["grid"].to_list(), dtype=np.float32).reshape(-1, rows["rows"][0], rows["cols"][0])
        if method == "ceiling":
            (level,) = set(found["threshold"])
            again = score_grids(grids, masks, "relu_max", level)
            np.testing.assert_allclose(found["iou"].fill_null(np.nan).to_numpy(), again.fixed_iou, atol=1e-6)
            continue
        again = score_grids(grids, masks, "relu_max", 0.5)
        for policy, iou in (("fixed", again.fixed_iou), ("otsu", again.otsu_iou), ("area", again.area_iou)):
            stored = found.filter(policy=policy)["iou"].fill_null(np.nan).to_numpy()
            np.testing.assert_allclose(stored, iou, atol=1e-6, err_msg=f"{method} {target} {policy}")
    # Behind average pooling and one linear layer, HiResCAM at the last block is Grad-CAM: two ways to one map.
    ways = [explained.filter(method=m, target="true").sort("sample_id")["grid"].to_list() for m in SAME_AT_BLOCK]
    np.testing.assert_allclose(*ways, atol=1e-4 * np.abs(ways[0]).max())


@pytest.mark.parametrize("harm", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-1])])
def test_a_run_whose_checkpoint_is_lost_or_damaged_is_trained_again(
    engine: Engine, trained: Callable[[EvaluationConfig], Planned], tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    planned = trained(STUDY.evaluation)
    (run,) = planned.runs
    for file in (tmp_path / "checkpoints").rglob("*.safetensors"):
        harm(file)
    assert evaluate_run.fn(planned.study_id, run, "resnet18", datetime.now(UTC)) == "failed"
    assert grid.lost_runs(planned.study_id) == [(run, "resnet18 simultaneous #1 seed 0")]
    assert grid.failed_runs(planned.study_id) == []
    with engine.connect() as connection:
        epochs = "SELECT epoch, train_loss, validation_loss FROM epoch ORDER BY epoch"
        before = frame(connection, epochs)
    assert train_run.fn(run, "resnet18", datetime.now(UTC)) == "finished"
    with engine.connect() as connection:
        assert frame(connection, epochs).equals(before), "the same bits again"
    assert grid.lost_runs(planned.study_id) == []
    assert evaluate_run.fn(planned.study_id, run, "resnet18", datetime.now(UTC)) == "finished"


def test_an_evaluation_that_fails_leaves_its_run_finished(
    engine: Engine, trained: Callable[[EvaluationConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = trained(STUDY.evaluation)
    study, (run,) = planned.study_id, planned.runs
    load = evaluate.load_model

    def broken(*given: Any) -> Classifier:
        model = load(*given)
        model.head.weight.data[0, 0] = math.nan
        return model

    step = Step("evaluate", study, datetime.now(UTC))
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "load_model", broken)
        assert evaluate_run.fn(study, run, "resnet18", step.since) == "failed"
        assert evaluate_run.fn(study, run, "resnet18", step.since) == "failed", "not tried again"
    assert missing_runs(step) == [] and grid.lost_runs(study) == []
    ((_, reason),) = grid.failed_runs(study)
    assert "is not finite" in reason
    with engine.connect() as connection:
        ((status, training, evaluation),) = frame(
            connection, "SELECT status, reason, evaluation_reason FROM runs"
        ).rows()
    assert (status, training, evaluation) == ("finished", None, reason)
    again = Step("evaluate", study, datetime.now(UTC))
    assert missing_runs(again) == [(run, "resnet18 simultaneous #1 seed 0")]
    assert evaluate_run.fn(study, run, "resnet18", again.since) == "finished"
    assert grid.failed_runs(study) == []
    with engine.connect() as connection:
        assert frame(connection, "SELECT evaluation_reason FROM runs").rows() == [(None,)]


@pytest.mark.slow
def test_a_reference_on_pretrained_weights_is_in_the_record_beside_the_networks(
    engine: Engine, plan: Callable[[StudyConfig], Planned], tmp_path: Path
) -> None:
    own = tmp_path / "own.safetensors"
    save_file({key: each.contiguous() for key, each in BACKBONES["resnet18"].make().state_dict().items()}, own)
    for weights, rows in (("none", []), (str(own), ["auc_over_reference", "auc_reference"])):
        training = STUDY.training.model_copy(update={"weights": weights})
        planned = plan(STUDY.model_copy(update={"name": Path(weights).stem, "training": training}))
        plan_evaluations(planned.study_id)
        assert train_run.fn(planned.runs[0], "resnet18", datetime.now(UTC)) == "finished"
        assert evaluate_run.fn(planned.study_id, planned.runs[0], "resnet18", datetime.now(UTC)) == "finished"
        compare_runs.fn(planned.study_id)
        with engine.connect() as connection:
            found = frame(connection, "SELECT study_id, variant, measure, value FROM decisions")
        found = found.filter(study_id=planned.study_id, variant="reference")
        assert sorted(set(found["measure"])) == rows and found["value"].is_not_null().all()


@pytest.mark.slow
def test_what_an_older_version_evaluated_is_kept_and_evaluated_anew(
    engine: Engine, trained: Callable[[EvaluationConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = trained(STUDY.evaluation)
    study, (run,) = planned.study_id, planned.runs
    step = Step("evaluate", study, datetime.now(UTC))

    def evaluated() -> list[int]:
        plan_evaluations(study)
        assert evaluate_run.fn(study, run, "resnet18", datetime.now(UTC)) == "finished"
        audit_shortcuts.fn(study)
        with engine.connect() as connection:
            assert work.runs_to_evaluate(connection, study) == []
            assert frame(connection, "SELECT DISTINCT evaluation_id FROM study_evaluations").height == 1
            audited = frame(connection, "SELECT question, features FROM shortcut_audit").rows()
            assert sorted(audited) == sorted([("class", "majority"), *product(QUESTIONS, FEATURES)])
            return list(connection.scalars(text("SELECT id FROM evaluation ORDER BY id")))

    monkeypatch.setattr(revision, "REVISION", 1)
    first = evaluated()
    assert len(first) == 1 and evaluated() == first
    monkeypatch.setattr(revision, "REVISION", 2)
    plan_evaluations(study)
    assert [number for number, _ in missing_runs(step)] == [run]
    again = evaluated()
    assert len(again) == 2 and again[0] == first[0]
    monkeypatch.setattr(revision, "REVISION", 1)  # a machine that was not updated
    with pytest.raises(ValueError, match="install the same on all machines"):
        missing_runs(step)
    with pytest.raises(ValueError, match="no study 99"):
        plan_evaluations(99)
