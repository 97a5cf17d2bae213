"""A sample set small enough to train on in seconds. One thread: the tests are small, the machine is shared."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lesionlens.config import RunConfig, StoppingConfig, TrainingConfig
from lesionlens.records import SampleArrays, Statistics

CLASSES = ("B", "BC", "BM", "MC", "MM")


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
    """Stripes whose width is the class, in noise: 16 training, 16 validation and 5 test patches unless told."""

    def make(train: int = 16, validation: int = 16, size: int = 32, seed: int = 0) -> SampleArrays:
        count = train + validation + 5
        labels = np.arange(count) % 5
        stripes = np.sin(np.arange(size)[None, :, None] * (labels[:, None, None] + 1) / 3) * 60 + 110
        noise = np.random.default_rng(seed).normal(0, 25, (count, size, size))
        pixels = (stripes + noise).clip(0, 255).astype(np.uint8)
        return SampleArrays(
            digest=f"{seed:064d}",
            classes=CLASSES,
            ids=np.arange(1, count + 1),
            pixels=pixels,
            masks=np.zeros(pixels.shape, bool),
            labels=labels.astype(np.int64),
            splits=np.array(["train"] * train + ["validation"] * validation + ["test"] * 5),
            patients=np.array([f"P_{i:05d}" for i in range(count)]),
            has_mask=labels > 0,
            groups=("background", "calcification", "mass", "calcification", "mass"),
            statistics=(
                Statistics(None, 0.43, 0.2),
                *(Statistics(code, 0.4, 0.1 + 0.02 * i) for i, code in enumerate(CLASSES)),
            ),
        )

    return make


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
