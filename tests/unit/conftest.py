"""Fixtures of the unit tests: small data sets on disk, small sample sets as arrays, settings of short runs."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lesionlens.config import RunConfig, StoppingConfig, TrainingConfig
from lesionlens.records import SampleArrays
from tests.unit.arrays import bright_squares, stripes
from tests.unit.files import CASE_FILES, Kaggle, Own


@pytest.fixture
def case_files_only(real: Path, tmp_path: Path) -> Path:
    """The four real case files, an excerpt of dicom_info.csv and not one picture."""
    (tmp_path / "csv").mkdir()
    (tmp_path / "jpeg").mkdir()
    for name in CASE_FILES.values():
        shutil.copy(real / "csv" / name, tmp_path / "csv")
    shutil.copy(real / "csv/dicom_info_excerpt.csv", tmp_path / "csv/dicom_info.csv")
    return tmp_path


@pytest.fixture
def kaggle(tmp_path: Path) -> Kaggle:
    root = tmp_path / "data"
    root.mkdir()
    return Kaggle(root)


@pytest.fixture
def own(tmp_path: Path) -> Own:
    root = tmp_path / "own"
    root.mkdir()
    return Own(root)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
