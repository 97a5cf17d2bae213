"""Epochs in TensorBoard's and MLflow's own files, read back by their own readers."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lesionlens import loggers
from lesionlens.loggers import Logged, Write, logged
from lesionlens.records import EpochResult
from lesionlens.settings import settings


def epoch(number: int, loss: float) -> EpochResult:
    rates = {"head": 1e-3}
    return EpochResult(1, number, loss, loss + 1, 0.5, 2.0, rates, improved=True, checkpoints=())


def run(home: Path, first: int = 1) -> Logged:
    return Logged(home, "ab" * 32, "resnet18 gradual #1 seed 0", {"backbone": "resnet18", "seed": 0}, first)


def test_tensorboard_reads_a_resumed_run_as_one_curve(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with logged(["tensorboard"], run(tmp_path)) as write:
        for number in (1, 2, 3):  # killed after the third, which the record does not hold
            write(epoch(number, number))
    with logged(["tensorboard"], run(tmp_path, first=3)) as write:
        write(epoch(3, 9.0))
    (folder,) = (tmp_path / "tensorboard").iterdir()
    found = accumulator.EventAccumulator(str(folder)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss/training")] == [(1, 1.0), (2, 2.0), (3, 9.0)]
    assert "froc/validation" not in found.Tags()["scalars"]
    assert {"rate/head", "accuracy/validation", "seconds"} <= set(found.Tags()["scalars"])


def test_mlflow_finds_a_resumed_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client_of = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(KeyboardInterrupt), logged(["mlflow"], run(tmp_path)) as write:
        write(epoch(1, 1.0))
        raise KeyboardInterrupt
    client = client_of(f"sqlite:///{tmp_path / 'mlflow/mlflow.db'}")
    experiment = client.get_experiment_by_name("lesionlens").experiment_id
    assert [found.info.status for found in client.search_runs([experiment])] == ["KILLED"]
    with logged(["mlflow"], run(tmp_path, first=2)) as write:
        write(epoch(2, 3.0))
    (found,) = client.search_runs([experiment])
    assert (found.info.status, found.info.run_name) == ("FINISHED", "resnet18 gradual #1 seed 0")
    assert found.data.params == {"backbone": "resnet18", "seed": "0"}
    curve = client.get_metric_history(found.info.run_id, "loss/validation")
    assert [(point.step, point.value) for point in curve] == [(1, 2.0), (2, 4.0)]
    assert not (Path.cwd() / "mlruns").exists()


def test_a_logger_that_fails_is_named_once_and_costs_no_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    @contextmanager
    def broken(_: Logged) -> Iterator[Write]:
        def write(result: EpochResult) -> None:
            raise OSError("no space left")

        yield write

    @contextmanager
    def sound(_: Logged) -> Iterator[Write]:
        yield lambda result: seen.append(result.epoch)

    monkeypatch.setattr(loggers, "require", lambda names: None)
    monkeypatch.setattr(loggers, "LOGGERS", {"broken": broken, "sound": sound})
    with caplog.at_level(logging.WARNING), logged(["broken", "sound"], run(tmp_path)) as write:
        write(epoch(1, 1.0))
        write(epoch(2, 1.0))
    assert seen == [1, 2]
    assert [record.getMessage().count("no space left") for record in caplog.records] == [1]


def test_what_training_raises_passes_through(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="own"), logged([], run(tmp_path)):
        raise RuntimeError("own")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'lesionlens\[mlflow\]'"), logged(["mlflow"], run(tmp_path)):
        pass


def test_loggers_are_named_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_LOGGERS", "tensorboard, mlflow")
    assert settings().loggers == ("tensorboard", "mlflow")
    monkeypatch.setenv("LESIONLENS_LOGGERS", "wandb")
    with pytest.raises(ValueError, match=r"^LESIONLENS_LOGGERS: .*'tensorboard' or 'mlflow'"):
        settings()
