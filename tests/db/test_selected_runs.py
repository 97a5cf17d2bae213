"""The chosen run is the one whose evaluated weights have the lowest validation loss."""

from typing import Any

from sqlalchemy import Connection, Engine, text

from db import read, write
from lesionlens.config import RunConfig, TrainingConfig
from lesionlens.identity import digest
from lesionlens.records import Checkpoint, EpochResult


def train(connection: Connection, run_id: int, phases: list[list[float]]) -> None:
    """Epochs with these validation losses; the best checkpoint is that of the last phase, as training keeps it."""
    write.start_run(connection, run_id, "cpu")
    epoch = 0
    for phase, losses in enumerate(phases, start=1):
        best = epoch + losses.index(min(losses)) + 1
        for loss in losses:
            epoch += 1
            kept = (("best", min(best, epoch)), ("last", epoch))
            checkpoints = tuple(Checkpoint(role, phase, at, f"{at}.safetensors", "ab" * 32, 10) for role, at in kept)
            rates = {"head": 1e-3, "unit1": 1e-4}
            result = EpochResult(phase, epoch, loss, loss, 0.5, 2.0, rates, True, checkpoints)
            write.save_epoch(connection, run_id, result)
    write.finish_run(connection, run_id)


def test_a_better_epoch_of_an_earlier_phase_does_not_count(engine: Engine, tiny: Any) -> None:
    with engine.begin() as connection:
        sample_set = tiny.save_patches(connection)
        study, (first, *_) = tiny.save_study(connection, sample_set)
        other = RunConfig(backbone="resnet18", strategy="gradual", seed=1)
        training = TrainingConfig(weights="none")
        second = write.save_run(connection, study, digest("other"), sample_set, other, training)
        train(connection, first, [[0.9, 0.2, 0.3], [0.8, 0.6, 0.7]])
        train(connection, second, [[0.9, 0.8], [0.5, 0.7]])
        evaluations = [tiny.evaluate_run(connection, run) for run in (first, second)]
        chosen = connection.execute(text("SELECT run_id, validation_loss FROM selected_runs")).all()
        asked = "SELECT run_id, best_epoch, validation_loss, epochs FROM table_2_accuracy ORDER BY run_id"
        dated = connection.execute(text(asked)).all()
        samples, compared_as_selected = read.comparison_samples(connection, study)
    assert chosen == [(second, 0.5)]
    assert samples["evaluation_id"].unique().sort().to_list() == evaluations
    assert compared_as_selected == evaluations[1:]
    assert dated == [(first, 5, 0.6, 6), (second, 3, 0.5, 4)]
