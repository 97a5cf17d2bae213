"""A small study in a real record: 64 x 64 noise, samples of three classes, runs planned but not trained."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Engine

from db import studies
from lesionlens.config.data import DataConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet, StoppingConfig, TrainingConfig
from lesionlens.identity import digest
from lesionlens.records import Box, DatasetIndex, Image, Label, Lesion, Sample, Statistics
from tasks.db_task import samples_of
from tests.record.makers import save_samples
from tests.unit.thin import thin_networks

LABELS = (
    Label("B", "background", "background", 0, False),
    Label("BM", "benign mass", "mass", 1, True),
    Label("MM", "malignant mass", "mass", 2, True),
)
SPLITS = ("train",) * 12 + ("validation",) * 3 + ("test",) * 3
STUDY = StudyConfig(
    name="noise",
    data=DataConfig(source="phantom"),
    training=TrainingConfig(weights="none", stopping=StoppingConfig(max_epochs=2, patience=2)),
    grid=GridConfig(
        backbones=("resnet18",), strategies=("simultaneous",), sets=(HyperSet(batch_size=8, head_rate=1e-3),)
    ),
    evaluation=EvaluationConfig(resamples=100, randomisation_samples=2),
)


@dataclass(frozen=True)
class Planned:
    """A study in the record, and its runs in the order of the grid."""

    config: StudyConfig
    study_id: int
    runs: tuple[int, ...]


@pytest.fixture(autouse=True, scope="module")
def thin() -> Iterator[None]:
    """Networks with an eighth of the channels."""
    with thin_networks():
        yield


def noise_samples() -> list[Sample]:
    """64 x 64 noise, two samples a patient; bright squares are lesions."""
    random = np.random.default_rng(0)
    made = []
    for n, split in enumerate(SPLITS):
        label, grey = LABELS[n % 3], random.integers(20, 90, (64, 64), dtype=np.uint8)
        mask = None
        if label.is_lesion:
            mask = np.zeros((64, 64), dtype=np.bool_)
            row, column = random.integers(0, 40, 2)
            mask[row : row + 20, column : column + 20] = True
            grey[mask] += np.uint8(60 * label.ordinal)
        made.append(
            Sample(
                f"sample {n}", label.code, f"image {n}", f"lesion {n}" if mask is not None else None, f"P_{n // 2:05d}",
                split, Box(0, 0, 64, 64), Box(8, 8, 28, 28) if mask is not None else None,
                None if mask is None else float(mask.mean()), grey, mask,
            )
        )  # fmt: skip
    return made


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tasks called outside of flow runs have no run to log to."""
    with disable_run_logger():
        yield


@pytest.fixture
def plan(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[StudyConfig], Planned]:
    """Enters a study over the noise samples, in a home of its own."""
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    monkeypatch.setenv("LESIONLENS_DEVICE", "cpu")
    samples_of.cache_clear()
    made = noise_samples()
    images = tuple(Image(sample.image_key, sample.patient, f"{n}.jpg") for n, sample in enumerate(made))
    lesions = tuple(
        Lesion(s.lesion_key, s.image_key, "mass", "MALIGNANT" if s.label == "MM" else "BENIGN", s.label, None)
        for s in made
        if s.lesion_key
    )
    index = DatasetIndex("noise", "phantom", digest("noise"), LABELS, images, lesions)

    grey = [Statistics(None, 0.3, 0.2)]
    with engine.begin() as connection:
        sample_set = save_samples(connection, index, digest("noise"), 64, made, statistics=grey)

    def make(config: StudyConfig) -> Planned:
        with engine.begin() as connection:
            kept = config.model_dump(mode="json")
            study = studies.save_study(connection, digest(kept), config.name, kept, digest("e"), sample_set, {})
            runs = [
                studies.save_run(
                    connection, study, digest(run, config.training), sample_set, run, config.training,
                    config.grid.title(run),
                )
                for run in config.grid.runs()
            ]  # fmt: skip
        return Planned(config, study, tuple(runs))

    return make
