"""One run after another on a real record: what fails is recorded with its reason, and the rest goes on."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from sqlalchemy import Connection, Engine, text
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from db import studies
from db.bulk import frame
from db.locks import free_lease
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import Backbone, GridConfig, HyperSet, RunConfig, Strategy
from lesionlens.models.classifier import Classifier
from lesionlens.records import EpochResult
from lesionlens.training.checkpoints import checkpoint_folder, load_model, read_checkpoint
from lesionlens.training.fit import first_model
from tasks.train import Outcome, all_threads, device_slot, lock_name, train_run
from tests.record.makers import LABELS
from tests.record.tasks.conftest import STUDY, Planned

Plan = Callable[[StudyConfig], Planned]


def study(*backbones: Backbone, strategy: Strategy = "simultaneous", unit1_rate: float = 3e-5) -> StudyConfig:
    sets = (HyperSet(batch_size=8, head_rate=1e-3, unit1_rate=unit1_rate),)
    return STUDY.model_copy(update={"grid": GridConfig(backbones=backbones, strategies=(strategy,), sets=sets)})


def train(*runs: int) -> list[Outcome]:
    since = datetime.now(UTC)
    return [train_run.fn(run, f"run {run}", since) for run in runs]


def statuses(engine: Engine) -> list[tuple[str, str | None]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT status, reason FROM run ORDER BY id"))]


def epochs_of(connection: Connection, run_id: int) -> pl.DataFrame:
    return frame(connection, "SELECT * FROM epoch WHERE run_id = %(run_id)s ORDER BY epoch", run_id=run_id)


def test_a_run_that_diverges_is_recorded_and_the_grid_goes_on(
    engine: Engine, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One network starts with a weight that is not a number: so are its logits and losses."""

    def broken(run: RunConfig, *given: object) -> Classifier:
        model = first_model(run, *given)  # type: ignore[arg-type]
        if run.backbone == "vgg11_bn":
            model.head.weight.data[0, 0] = math.nan
        return model

    monkeypatch.setattr("lesionlens.training.fit.first_model", broken)
    monkeypatch.setenv("LESIONLENS_LOGGERS", "tensorboard")
    shown: list[tuple[int, str, int | None]] = []
    monkeypatch.setattr("tasks.train.show_epochs", lambda *told: shown.append(told))
    first, second = plan(study("vgg11_bn", "resnet18")).runs
    assert train(first, second) == ["failed", "finished"]
    (failed, reason), finished = statuses(engine)
    assert failed == "failed" and reason is not None
    assert "training loss is nan in epoch 1" in reason and "Choose lower rates than head 0.001, unit1 3e-05" in reason
    assert finished == ("finished", None)
    with engine.connect() as connection:
        assert studies.checkpoints(connection, first) == ()
        trained = epochs_of(connection, second)
    assert trained["seconds"].min() > 0  # type: ignore[operator]
    assert trained["rates"].to_list()[0] == {"head": 1e-3, "unit1": 3e-5, "unit2": 3e-6}
    folders = list((tmp_path / "checkpoints").iterdir())
    assert len(folders) == 1 and len(list(folders[0].iterdir())) <= 2
    assert {most for *_, most in shown[:-1]} == {2} and shown[-1] == (second, f"run {second}", None)
    (events,) = (tmp_path / "tensorboard").glob(f"run-{second}-*/*")
    read = EventAccumulator(str(events)).Reload()
    assert [e.value for e in read.Scalars("loss/validation")] == pytest.approx(trained["validation_loss"].to_list())


@pytest.mark.parametrize("kind", ["folder", "URL"])
def test_a_full_disk_fails_its_run_only_and_the_same_command_goes_on_later(
    engine: Engine,
    plan: Plan,
    small_disk: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    disk = small_disk(100_000_000)
    (large,) = plan(study("resnet34")).runs
    (small,) = plan(study("efficientnet_b0", strategy="gradual", unit1_rate=1e-9)).runs
    if kind == "folder":
        monkeypatch.setenv("LESIONLENS_HOME", str(disk))
    else:
        monkeypatch.setenv("LESIONLENS_CHECKPOINTS", f"file://{disk}/checkpoints")
    assert train(large, small) == ["failed", "finished"]
    (failed, reason), finished = statuses(engine)
    assert failed == "failed" and reason is not None
    assert "checkpoint of epoch 1" in reason and "No space left on device" in reason and "Free disk space" in reason
    assert finished == ("finished", None)
    with engine.connect() as connection:
        assert studies.checkpoints(connection, large) == () and epochs_of(connection, large).is_empty()
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    monkeypatch.delenv("LESIONLENS_CHECKPOINTS", raising=False)
    assert train(large, small) == ["finished", "finished"]
    assert statuses(engine) == [("finished", None)] * 2


def test_the_end_of_a_run_says_what_it_takes_on_disk(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tasks.train.get_run_logger", lambda: logging.getLogger("run"))
    (run,) = plan(study("resnet18", strategy="gradual")).runs
    with caplog.at_level(logging.INFO):
        assert train(run) == ["finished"]
    size = sum(path.stat().st_size for path in (tmp_path / "checkpoints").rglob("*.safetensors"))
    assert f"on disk: its checkpoints {size / 1e9:.2f} GB, those of all runs {size / 1e9:.2f} GB" in caplog.text
    assert "feature cache" in caplog.text


@pytest.mark.parametrize("keep", ["best", "all"])
def test_a_finished_run_keeps_its_best_weights_alone_unless_all_are_asked_for(
    engine: Engine, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    monkeypatch.setenv("LESIONLENS_KEEP", keep)
    planned = plan(study("resnet18", strategy="gradual"))
    assert train(*planned.runs) == ["finished"]
    with engine.connect() as connection:
        known = studies.checkpoints(connection, planned.runs[0])
        run = studies.run_row(connection, planned.runs[0])
    folder = checkpoint_folder(tmp_path / "checkpoints", run.digest)
    assert {path.name for path in folder.iterdir()} == {found.path for found in known}
    assert [found.role for found in known] == (["best"] if keep == "best" else ["best", "last"])
    assert bool(read_checkpoint(folder, known[0]).optimizer) == (keep == "all")
    model = load_model(run.config, run.training, [label.code for label in LABELS], folder, known[0])
    assert sum(tensor.nbytes for tensor in model.state_dict().values()) < known[0].bytes


def test_a_resumed_run_trains_and_counts_from_where_it_stood(
    engine: Engine, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of at most six epochs are done, then the process ends."""
    (run,) = plan(study("resnet18", strategy="gradual")).runs
    saved, began, advanced = studies.save_epoch, list[tuple[object, ...]](), list[int]()

    def failing(connection: Connection, run_id: int, result: EpochResult) -> None:
        if result.epoch == 3:
            raise RuntimeError("stop")
        saved(connection, run_id, result)

    @contextmanager
    def watched(*given: object) -> Iterator[Callable[[int, int], None]]:
        began.append(given)
        yield lambda done, total: advanced.append(done)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stop"):
        patch.setattr(studies, "save_epoch", failing)
        train(run)
    with engine.connect() as connection:
        before = epochs_of(connection, run)
    monkeypatch.setattr("tasks.train.progress", watched)
    assert train(run) == ["finished"]
    with engine.connect() as connection:
        after = epochs_of(connection, run)
    assert before.height == 2 and after.head(2).equals(before)
    assert began == [(f"train run {run}", "epochs", 6, 2)] and advanced == list(range(3, after.height + 1))


def test_two_workers_never_train_the_same_run(engine: Engine, plan: Plan) -> None:
    (run,) = plan(study("resnet18")).runs
    with free_lease(engine, lock_name(run)) as claim:
        assert claim is not None
        assert train_run.fn(run, "run", datetime.now(UTC), wait=False) == "elsewhere"
    assert statuses(engine) == [("pending", None)]


@pytest.mark.parametrize(("at_once", "threads"), [("1", 4), ("2", 2), ("3", 1), ("8", 1)])
def test_runs_side_by_side_share_the_cores(
    at_once: str, threads: int, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONLENS_RUNS_PER_DEVICE", at_once)
    torch.set_num_threads(4)
    all_threads.cache_clear()
    try:
        for _ in range(2):
            with device_slot(engine):
                assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
        all_threads.cache_clear()


def test_a_run_that_failed_in_this_step_is_not_tried_again(engine: Engine, plan: Plan) -> None:
    (run,) = plan(study("resnet18")).runs
    since = datetime.now(UTC)
    with engine.begin() as connection:
        studies.fail_run(connection, run, "a NaN loss")
    assert train_run.fn(run, "run", since) == "failed"
    assert statuses(engine) == [("failed", "a NaN loss")]


def test_every_epoch_is_a_table_with_the_time_left(engine: Engine, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[list[dict[str, object]], str, str]] = []
    monkeypatch.setattr("tasks.artifacts.create_table_artifact", lambda *given: shown.append(given))
    monkeypatch.setattr("tasks.artifacts.TaskRunContext", SimpleNamespace(get=lambda: object()))
    monkeypatch.setattr("tasks.train.stop_if_cancelled", lambda: None)
    (run,) = plan(study("resnet18")).runs
    assert train(run) == ["finished"]
    *running, (lines, key, about) = shown
    assert [len(lines) for lines, _, _ in running] == list(range(1, len(running) + 1)) and len(running) >= 2
    assert all("left" in about for _, _, about in running) and about.startswith("Finished in")
    assert key == f"run-{run}-epochs" and lines[0]["epoch"] == len(running)
    with engine.connect() as connection:
        losses = epochs_of(connection, run)["validation_loss"].to_list()
    assert lines[0]["validation loss"] == f"{losses[-1]:.3f}"
