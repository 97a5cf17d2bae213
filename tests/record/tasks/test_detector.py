"""Detectors that begin with a run of patches, of films, or an own file; and on a table of boxes and films without."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sqlalchemy import Engine, text
from torch import Tensor

from commands.__main__ import main
from db import studies
from db.queries import work
from db.queries.results import marked
from lesionlens.config.data import BackgroundConfig, DataConfig, ImageConfig, PatchConfig, SplitConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import DetectorConfig, GridConfig, HyperSet, StoppingConfig, TrainingConfig
from lesionlens.settings import home
from lesionlens.training.checkpoints import checkpoint_folder, read_checkpoint
from tasks.db_task import samples_of
from tasks.evaluate import evaluate_run, plan_evaluations
from tasks.prepare import prepare_study
from tasks.train import train_run
from tests.unit.thin import ThinResNet

Study = Callable[..., StudyConfig]
FILMS = ImageConfig(height=96, width=64)


def table_of_boxes(root: Path) -> Path:
    """A table of 24 films with a bright square each, by its box alone, and of 8 films that show no lesion."""
    rng = np.random.default_rng(0)
    rows = [["image", "x", "y", "width", "height", "label", "patient", "split"]]
    for n in range(32):
        grey, box = rng.integers(30, 70, (96, 64)).astype(np.uint8), [""] * 4
        label = "normal" if n >= 24 else ("benign", "malignant")[n % 2]
        if n < 24:
            (x, y), side = (int(at) for at in rng.integers(4, 40, 2)), 12 + 8 * (n % 2)
            grey[y : y + side, x : x + side] += 120
            box = [str(each) for each in (x, y, side, side)]
        Image.fromarray(grey).save(root / f"{n:02d}.png")
        split = ("train", "train", "validation", "test")[n // 2 % 4]
        rows.append([f"{n:02d}.png", *box, label, f"P{n}", split])
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


@pytest.fixture
def study(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Makes studies of one run and one epoch on the table's films, in a home of its own."""
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LESIONLENS_DEVICE", "cpu")
    samples_of.cache_clear()
    (tmp_path / "own").mkdir()
    root = table_of_boxes(tmp_path / "own")

    def make(
        name: str,
        system: str = "detector",
        unit: str = "image",
        weights: str = "none",
        start: str | None = None,
    ) -> StudyConfig:
        detects = system == "detector"
        return StudyConfig(
            name=name,
            data=DataConfig(root=root, positive=("malignant",)),
            unit=unit,
            images=FILMS,
            patches=PatchConfig(size=32, frame="image"),
            background=BackgroundConfig(size=40, train=10, test=2),
            split=SplitConfig(rule="sound"),
            training=TrainingConfig(
                weights=weights,
                start=start,
                detector=DetectorConfig(channels=32),
                stopping=StoppingConfig(max_epochs=1),
            ),
            grid=GridConfig(
                system=system,
                backbones=("resnet18",),
                strategies=("simultaneous",) if detects or unit == "patch" else ("two_step",),
                sets=(HyperSet(batch_size=4, head_rate=1e-3, unit1_rate=1e-3),),
            ),
            evaluation=EvaluationConfig(
                methods=("boxes",) if detects else ("grad_cam",), resamples=100, randomisation_samples=0
            ),
        )

    return make


def trained(engine: Engine, config: StudyConfig) -> tuple[int, int, dict[str, Tensor]]:
    """Study, run, and its best weights."""
    study_id = prepare_study.fn(config)
    with engine.connect() as connection:
        ((run_id, title),) = work.runs_to_train(connection, study_id)
    assert train_run.fn(run_id, title, datetime.now(UTC)) == "finished"
    with engine.connect() as connection:
        digest, best = studies.run_row(connection, run_id).digest, studies.checkpoints(connection, run_id)[0]
    return study_id, run_id, read_checkpoint(checkpoint_folder(home().checkpoints, digest), best).model


def stem(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


@pytest.mark.parametrize("unit", ["patch", "image"])
def test_a_detector_begins_with_the_blocks_of_patches_or_films(engine: Engine, study: Study, unit: str) -> None:
    """The stem stays what the first run made of it; what lies above learns."""
    _, _, first = trained(engine, study("first", "classifier", unit))
    _, _, found = trained(engine, study("second", start="first"))
    before, after = stem(first, "stem."), stem(found, "network.backbone.body.stem.")
    assert before.keys() == after.keys() and len(before) > 20
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    below, above = stem(first, "unit1."), stem(found, "network.backbone.body.unit1.")
    weights = [name for name in below if name.endswith("weight") and below[name].ndim == 4]
    assert weights and not any(torch.equal(below[name], above[name]) for name in weights)
    assert max(float((below[name] - above[name]).abs().max()) for name in weights) < 0.1


def test_a_detector_begins_with_an_own_file(engine: Engine, study: Study, tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = ThinResNet().state_dict()
    save_file(state, tmp_path / "own.safetensors")
    _, _, found = trained(engine, study("own", weights=str(tmp_path / "own.safetensors")))
    kept = [tensor for name, tensor in stem(found, "network.backbone.body.stem.").items() if tensor.ndim == 4]
    assert len(kept) > 4 and all(any(torch.equal(tensor, own) for own in state.values()) for tensor in kept)


def test_a_table_of_boxes_with_films_that_show_nothing(
    engine: Engine, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Films without a lesion are negatives: no lesion, but false marks count on them."""
    config = study("boxes")
    path = tmp_path / "boxes.json"
    path.write_text(config.model_dump_json())
    assert main(["check", str(config.data.root), "--config", str(path)]) == 0
    assert "at rates measured just now" in capsys.readouterr().out
    study_id, run_id, _ = trained(engine, config)
    plan_evaluations(study_id)
    assert evaluate_run.fn(study_id, run_id, "resnet18", datetime.now(UTC)) == "finished"
    found = marked(study_id)
    assert found["films"].height == 8 and found["lesions"].height == 6
    with engine.connect() as connection:
        curve = connection.execute(text(
            "SELECT method, n, sensitivity FROM froc_curves WHERE false_marks = 4 AND criterion = 'centre'"
            " AND group_name = 'all'"
        )).all()  # fmt: skip
    assert {row.method: row.n for row in curve} == {"boxes": 6, "bright_blob": 6}
    assert next(row.sensitivity for row in curve if row.method == "bright_blob") == 1.0
