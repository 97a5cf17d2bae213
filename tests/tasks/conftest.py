"""A small study in a real record: 64 x 64 noise, patches of three classes, one run planned."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from sqlalchemy import Engine

from db import studies
from lesionlens.config import (
    DataConfig,
    EvaluationConfig,
    GridConfig,
    HyperSet,
    Method,
    StoppingConfig,
    StudyConfig,
    TrainingConfig,
)
from lesionlens.identity import digest
from lesionlens.records import Box, DatasetIndex, Image, Label, Lesion, Sample, Statistics
from tasks.patches import patches_of
from tests.record.makers import save_samples

LABELS = (
    Label("B", "background", "background", 0, False),
    Label("BM", "benign mass", "mass", 1, True),
    Label("MM", "malignant mass", "mass", 2, True),
)
SPLITS = ("train",) * 12 + ("validation",) * 3 + ("test",) * 3
STUDY = StudyConfig(
    name="methods",
    data=DataConfig(source="phantom"),
    training=TrainingConfig(weights="none", stopping=StoppingConfig(max_epochs=1)),
    grid=GridConfig(
        backbones=("resnet18",), strategies=("simultaneous",), sets=(HyperSet(batch_size=8, head_rate=1e-3),)
    ),
    evaluation=EvaluationConfig(methods=get_args(Method), resamples=100, randomisation_samples=2),
)


def patches() -> list[Sample]:
    """64 x 64 noise, two patches a patient; bright squares are lesions."""
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
                f"patch {n}", label.code, f"image {n}", f"lesion {n}" if mask is not None else None, f"P_{n // 2:05d}",
                split, Box(0, 0, 64, 64), Box(8, 8, 28, 28) if mask is not None else None,
                None if mask is None else float(mask.mean()), grey, mask,
            )
        )  # fmt: skip
    return made


@pytest.fixture
def planned(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[StudyConfig, int, int]:
    """A study whose one run is not trained yet: its configuration, its number and the run's."""
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
        grey = [Statistics(None, 0.3, 0.2)]
        sample_set = save_samples(connection, index, digest("noise patches"), 64, made, statistics=grey)
        kept = STUDY.model_dump(mode="json")
        study = studies.save_study(connection, digest("study"), STUDY.name, kept, digest("e"), sample_set, {})
        (run,) = STUDY.grid.runs()
        number = studies.save_run(
            connection, study, digest(run, STUDY.training), sample_set, run, STUDY.training, STUDY.grid.title(run)
        )
    return STUDY, study, number
