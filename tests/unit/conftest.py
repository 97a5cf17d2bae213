"""Fixtures of the unit tests: small data sets on disk, small sample sets as arrays, settings of short runs."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lesionlens.config.training import RunConfig, StoppingConfig, TrainingConfig
from lesionlens.phantom.dataset import write_phantom
from lesionlens.records import SampleArrays
from tests.unit.arrays import bright_squares, stripes
from tests.unit.files import CASE_FILES, PHANTOM, Kaggle, Own
from tests.unit.thin import thin_networks


@pytest.fixture(scope="session")
def case_files_only(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four real case files, an excerpt of dicom_info.csv and not one image."""
    root = tmp_path_factory.mktemp("real")
    (root / "csv").mkdir()
    (root / "jpeg").mkdir()
    for name in CASE_FILES.values():
        shutil.copy(real / "csv" / name, root / "csv")
    shutil.copy(real / "csv/dicom_info_excerpt.csv", root / "csv/dicom_info.csv")
    return root


@pytest.fixture
def kaggle(tmp_path: Path) -> Kaggle:
    root = tmp_path / "data"
    root.mkdir()
    return Kaggle(root)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are drawn and cut in the process of the test."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small phantom data set; not to be changed."""
    root = tmp_path_factory.mktemp("phantom") / "shared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: {0})
        write_phantom(PHANTOM, root)
    return root


@pytest.fixture
def own(tmp_path: Path) -> Own:
    root = tmp_path / "own"
    root.mkdir()
    return Own(root)


@pytest.fixture(scope="module")
def thin() -> Iterator[None]:
    """Networks with an eighth of the channels."""
    with thin_networks():
        yield


@pytest.fixture(autouse=True)
def leave_no_weights(tmp_path: Path) -> Iterator[None]:
    """Checkpoints of real networks are large, and pytest keeps the folders of its last sessions."""
    yield
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()


@pytest.fixture(scope="session")
def make_patches() -> Callable[..., SampleArrays]:
    """The builder of striped patches."""
    return stripes


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunConfig]:
    def make(backbone: str = "resnet18", strategy: str = "gradual", **changes: Any) -> RunConfig:
        settings = {"batch_size": 16, "head_rate": 1e-3, "unit1_rate": 1e-3} | changes
        return RunConfig.model_validate({"backbone": backbone, "strategy": strategy, **settings})

    return make


@pytest.fixture(scope="session")
def make_training() -> Callable[..., TrainingConfig]:
    """Random weights, and epochs few enough for a test."""

    def make(epochs: int = 1, patience: int = 5, **changes: Any) -> TrainingConfig:
        stopping = StoppingConfig(patience=patience, max_epochs=epochs)
        return TrainingConfig.model_validate({"weights": "none", "stopping": stopping, **changes})

    return make


@pytest.fixture(scope="session")
def tiny_patches() -> Callable[..., SampleArrays]:
    """The builder of bright squares."""
    torch.set_num_threads(1)
    return bright_squares
