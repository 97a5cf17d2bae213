"""A study whose runs begin with those of another: planned, trained, refused."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import Engine, text
from torch import Tensor

from db import studies
from db.queries import starts, work
from lesionlens.config.data import BackgroundConfig, DataConfig, PatchConfig, PhantomConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet, StoppingConfig, TrainingConfig
from lesionlens.settings import home
from lesionlens.training.checkpoints import checkpoint_folder, read_checkpoint
from tasks import prepare
from tasks.db_task import samples_of
from tasks.prepare import prepare_study
from tasks.train import start_weights, train_run

Study = Callable[..., StudyConfig]


@pytest.fixture
def study(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Makes configurations over one small phantom, in a home of its own; each of one run and one epoch."""
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    monkeypatch.setenv("LESIONLENS_DEVICE", "cpu")
    samples_of.cache_clear()
    drawn = PhantomConfig(height=400, train_per_class=3, test_per_class=2, callback_free=4)

    def make(name: str, rate: float = 3e-4, start: str | None = None, seed: int = 0, **grid: Any) -> StudyConfig:
        sets = (HyperSet(batch_size=8, head_rate=1e-3, unit1_rate=rate),)
        cell: dict[str, Any] = {"backbones": ("resnet18",), "strategies": ("simultaneous",), "sets": sets}
        return StudyConfig(
            name=name,
            seed=seed,
            data=DataConfig(source="phantom", phantom=drawn),
            patches=PatchConfig(size=32),
            background=BackgroundConfig(size=60, train=6, test=3),
            training=TrainingConfig(weights="none", start=start, stopping=StoppingConfig(max_epochs=1)),
            grid=GridConfig.model_validate(cell | grid),
        )

    return make


def trained(engine: Engine, config: StudyConfig) -> tuple[studies.RunRow, dict[str, Tensor]]:
    """The study's first run, trained, with its best weights."""
    study_id = prepare_study.fn(config)
    with engine.connect() as connection:
        runs = work.runs_to_train(connection, study_id)
    for run_id, title in runs:
        assert train_run.fn(run_id, title, datetime.now(UTC)) == "finished"
    with engine.connect() as connection:
        row = studies.run_row(connection, runs[0][0])
        best = studies.checkpoints(connection, row.id)[0]
    return row, read_checkpoint(checkpoint_folder(home().checkpoints, row.digest), best).model


def test_a_run_begins_with_the_blocks_of_another_studys_run(engine: Engine, study: Study) -> None:
    """At a rate of nearly nothing the blocks stay what the first run made of them; the head is new."""
    before, first = trained(engine, study("first"))
    after, second = trained(engine, study("second", rate=1e-15, start="first"))
    assert after.training.start == before.digest
    weights = [name for name in first if name.startswith(("stem.", "unit2.", "unit1.")) and name.endswith("weight")]
    assert len(weights) > 20
    for name in weights:
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=1e-9)
    assert not torch.allclose(second["head.weight"], first["head.weight"])
    begun = start_weights(engine, before.digest)
    assert all(torch.equal(begun[name], tensor) for name, tensor in first.items())


def test_a_start_is_part_of_what_a_run_is(engine: Engine, study: Study) -> None:
    first, _ = trained(engine, study("first"))
    trained(engine, study("other", rate=1e-4))
    ids = [prepare_study.fn(study("second", start=name)) for name in ("first", "first", "other")]
    with engine.connect() as connection:
        digest = studies.study_row(connection, 1).digest
        assert prepare_study.fn(study("second", start=digest)) == ids[0] == prepare_study.fn(study("second", start="1"))
        runs = [work.runs_to_train(connection, number)[0][0] for number in ids]
        assert studies.study_config(connection, ids[0])["training"]["start"] == digest
        assert studies.run_row(connection, runs[0]).training.start == first.digest
    assert ids[0] == ids[1] != ids[2] and runs[0] == runs[1] != runs[2]


def test_the_run_of_the_same_seed_is_taken_else_the_selected_one(engine: Engine, study: Study) -> None:
    trained(engine, study("first", seeds=(0, 1)))
    second = prepare_study.fn(study("second", start="first", seeds=(0, 1, 7)))
    by_seed = "SELECT seed, digest FROM run JOIN study_run ON run_id = run.id WHERE study_id = 1"
    with engine.connect() as connection:
        first = {row.seed: row.digest for row in connection.execute(text(by_seed))}
        selected = connection.scalar(text("SELECT seed FROM selected_runs WHERE study_id = 1"))
        rows = [studies.run_row(connection, run) for run, _ in work.runs_to_train(connection, second)]
    assert {row.config.seed: row.training.start for row in rows} == {0: first[0], 1: first[1], 7: first[selected]}


def test_what_cannot_be_begun_with_is_refused(engine: Engine, study: Study) -> None:
    with pytest.raises(ValueError, match=r"training.start: the record holds no study 'first'"):
        prepare_study.fn(study("second", start="first"))
    prepare_study.fn(study("first"))
    with pytest.raises(ValueError, match=r"resnet18 .* of study 1 \(first\) is not trained yet: lesionlens train 1"):
        prepare_study.fn(study("second", start="first"))
    trained(engine, study("first"))
    with pytest.raises(ValueError, match=r"study 1 \(first\) trains resnet18, not vgg11_bn"):
        prepare_study.fn(study("second", start="first", backbones=("vgg11_bn",)))
    assert prepare_study.fn(study("second", start="first", seed=3)) > 1
    with engine.begin() as connection:
        seen = "UPDATE sample SET split = 'validation' WHERE id = (SELECT max(id) FROM sample WHERE split = 'test'"
        connection.execute(text(f"{seen} AND sample_set_id = 1)"))
    with pytest.raises(ValueError, match=r"study 1 \(first\) trained on 1 patients of this test split"):
        prepare_study.fn(study("third", start="first", seed=4))


def test_it_is_said_how_many_validation_patients_the_first_network_was_trained_on(
    engine: Engine, study: Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """None where both share their splits; of another draw those who are in the one and were in the other."""
    monkeypatch.setattr(prepare, "run_logger", lambda: logging.getLogger("prepare"))
    first, _ = trained(engine, study("first"))
    prepare_study.fn(study("second", start="first"))
    assert "validation patients" not in caplog.text
    other = prepare_study.fn(study("third", start="first", seed=3))
    with engine.connect() as connection:
        samples = studies.study_row(connection, other).sample_set_id
        patients = "SELECT DISTINCT patient FROM lens.samples WHERE study = :study AND split = :split"
        validated, seen = (
            set(connection.scalars(text(patients), {"study": name, "split": split}))
            for name, split in (("third", "validation"), ("first", "train"))
        )
        found = starts.validated_on(connection, first.digest, samples)
    assert found == (len(validated), len(validated & seen)) and found[1] > 0
    assert f"trained on {found[1]} of the {found[0]} validation patients" in caplog.text


def test_a_start_whose_weights_are_gone_fails_its_run_and_says_so(engine: Engine, study: Study) -> None:
    first, _ = trained(engine, study("first"))
    second = prepare_study.fn(study("second", start="first"))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM checkpoint WHERE run_id = :run"), {"run": first.id})
        ((run_id, title),) = work.runs_to_train(connection, second)
    assert train_run.fn(run_id, title, datetime.now(UTC)) == "failed"
    with engine.connect() as connection:
        ((_, reason),) = work.failed_runs(connection, second)
    assert f"the weights of run {first.digest[:16]} are gone: train its study again" in reason
