"""One run after another on a real record: what fails is recorded with its reason, and the rest goes on."""

import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Connection, Engine, text

from db import studies
from db.bulk import frame
from lesionlens.config import ExecutionConfig, RunConfig, StoppingConfig, TrainingConfig
from lesionlens.identity import digest
from lesionlens.models.classifier import Classifier
from lesionlens.records import Box, DatasetIndex, EpochResult, Image, Label, Lesion, Sample, Statistics
from lesionlens.training.fit import first_model
from tasks.patches import patches_of
from tasks.progress import Stage
from tasks.train import Outcome, train_run
from tests.record.makers import save_samples

LABELS = (
    Label("B", "background", "background", 0, False),
    Label("MM", "malignant mass", "mass", 1, True),
)
SPLITS = ("train",) * 16 + ("validation",) * 8
CPU = ExecutionConfig(device="cpu")


@pytest.fixture
def sample_set(engine: Engine) -> int:
    """Two classes of 32 x 32 noise."""
    random = np.random.default_rng(0)
    count = range(len(SPLITS))
    images = tuple(Image(f"image {n}", f"P_{n:05d}", f"{n}.jpg") for n in count)
    lesions = tuple(Lesion(f"lesion {n}", f"image {n}", "mass", "MALIGNANT", "MM", None) for n in count if n % 2)
    patches = [
        Sample(
            f"patch {n}", LABELS[n % 2].code, f"image {n}", f"lesion {n}" if n % 2 else None, f"P_{n:05d}", split,
            Box(0, 0, 32, 32), Box(8, 8, 24, 24) if n % 2 else None, 0.25 if n % 2 else None,
            random.integers(0, 256, (32, 32), dtype=np.uint8), np.eye(32, dtype=bool) if n % 2 else None,
        )
        for n, split in enumerate(SPLITS)
    ]  # fmt: skip
    index = DatasetIndex("noise", "phantom", digest("noise"), LABELS, images, lesions)
    with engine.begin() as connection:
        statistics = [Statistics(None, 0.5, 0.3)]
        return save_samples(connection, index, digest("noise patches"), 32, patches, statistics=statistics)


@pytest.fixture
def plan(engine: Engine, sample_set: int) -> Callable[..., list[int]]:
    """Enters runs; returns their ids."""
    patches_of.cache_clear()

    training = TrainingConfig(weights="none", stopping=StoppingConfig(max_epochs=2, patience=2))

    def make(*runs: RunConfig) -> list[int]:
        with engine.begin() as connection:
            study = studies.save_study(connection, digest("study"), "noise", {}, digest("e"), sample_set, {})
            return [
                studies.save_run(connection, study, digest(run, training), sample_set, run, training, run.backbone)
                for run in runs
            ]

    return make


def train(*runs: int) -> list[Outcome]:
    since = datetime.now(UTC)
    with disable_run_logger():
        return [train_run.fn(run, f"run {run}", CPU, since) for run in runs]


def epochs_of(connection: Connection, run: int) -> pl.DataFrame:
    return frame(connection, "SELECT seconds, rates FROM epoch WHERE run_id = %(run)s ORDER BY epoch", run=run)


def statuses(engine: Engine) -> list[tuple[str, str | None]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT status, reason FROM run ORDER BY id"))]


def run_of(backbone: str, **changes: object) -> RunConfig:
    settings = {"backbone": backbone, "strategy": "simultaneous", "batch_size": 8, "head_rate": 1e-3} | changes
    return RunConfig.model_validate(settings)


def test_a_run_that_diverges_is_recorded_and_the_grid_goes_on(
    engine: Engine, plan: Callable[..., list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One network starts with a weight that is not a number: so are its logits and losses."""

    def broken(run: RunConfig, *given: object) -> Classifier:
        model = first_model(run, *given)  # type: ignore[arg-type]
        if run.backbone == "vgg11_bn":
            model.head.weight.data[0, 0] = math.nan
        return model

    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    monkeypatch.setattr("lesionlens.training.fit.first_model", broken)
    first, second = plan(run_of("vgg11_bn"), run_of("resnet18"))
    assert train(first, second) == ["failed", "finished"]
    (failed, reason), finished = statuses(engine)
    assert failed == "failed" and reason is not None
    assert "training loss is nan in epoch 1" in reason and "Choose lower rates than head 0.001, unit1 3e-05" in reason
    assert finished == ("finished", None)
    with engine.connect() as connection:
        assert studies.checkpoints(connection, first) == ()
        epochs = epochs_of(connection, second)
    assert epochs["seconds"].min() > 0  # type: ignore[operator]
    assert epochs["rates"].to_list()[0] == {"head": 1e-3, "unit1": 3e-5, "unit2": 3e-6}
    folders = list((tmp_path / "checkpoints").iterdir())
    assert len(folders) == 1 and len(list(folders[0].iterdir())) <= 2


@pytest.mark.parametrize("kind", ["folder", "URL"])
def test_a_full_disk_fails_its_run_only_and_the_same_command_goes_on_later(
    engine: Engine,
    plan: Callable[..., list[int]],
    small_disk: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    disk = small_disk(100_000_000)
    monkeypatch.setenv("LESIONLENS_HOME", str(disk if kind == "folder" else tmp_path))
    if kind == "URL":
        monkeypatch.setenv("LESIONLENS_CHECKPOINTS", f"file://{disk}/checkpoints")
    large, small = plan(run_of("resnet18"), run_of("efficientnet_b0", strategy="gradual", unit1_rate=1e-9))
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
    plan: Callable[..., list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    monkeypatch.setattr("tasks.train.get_run_logger", lambda: logging.getLogger("told"))
    (run,) = plan(run_of("resnet18", strategy="gradual"))
    with caplog.at_level(logging.INFO):
        assert train_run.fn(run, "run", CPU, datetime.now(UTC)) == "finished"
    size = sum(path.stat().st_size for path in (tmp_path / "checkpoints").rglob("*.safetensors"))
    assert f"on disk: its checkpoints {size / 1e9:.2f} GB, those of all runs {size / 1e9:.2f} GB" in caplog.text
    assert "feature cache" in caplog.text


def test_a_resumed_run_shows_its_own_pace_and_at_most_how_long(
    engine: Engine,
    plan: Callable[..., list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two of six epochs are done, then the record is out of reach."""
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    (run,) = plan(run_of("resnet18", strategy="gradual"))
    lines, saved = list[str](), studies.save_epoch

    def failing(connection: Connection, run_id: int, result: EpochResult) -> None:
        if result.epoch == 3:
            raise RuntimeError("stop")
        saved(connection, run_id, result)

    def watched(self: Stage, done: int, total: int | None = None) -> None:
        lines.append(self.line())
        advance(self, done, total)
        lines.append(self.line())

    advance = Stage.advance
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stop"):
        patch.setattr(studies, "save_epoch", failing)
        train(run)
    monkeypatch.setattr(Stage, "advance", watched)
    assert train(run) == ["finished"]
    assert lines[0].endswith(": 2/6 epochs")
    assert ": 3/6 epochs" in lines[1] and ", at most " in lines[1]
