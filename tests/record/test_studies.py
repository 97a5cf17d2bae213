"""Studies and runs: planned once, followed from pending to evaluated, selected by validation loss."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text

from db import evaluations, studies
from db.bulk import frame
from db.queries import work
from db.tables import metadata
from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.identity import digest
from lesionlens.records import Checkpoint, EpochResult
from tests.record.makers import IDENTITY, Filled, evaluate_run, fill, make_epoch, save_patches, save_study

UNFILLED = {"report", "comparison_page", "evaluation_failure", "external_evaluation", "external_score", "sample_lesion"}
"""Tables in which one study of patches without faults, on its own data alone, enters nothing."""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def counts(connection: Connection) -> dict[str, Any]:
    return {t.name: connection.scalar(select(func.count()).select_from(t)) for t in metadata.sorted_tables}


def test_filling_twice_changes_nothing(connection: Connection, filled: Filled) -> None:
    before = counts(connection)
    assert fill(connection) == filled
    assert counts(connection) == before
    assert all(before[name] for name in before if name not in UNFILLED)


def test_runs_go_from_pending_to_evaluated(empty: Connection) -> None:
    study, (first, second) = save_study(empty, save_patches(empty))
    titles = [(first, "gradual"), (second, "simultaneous")]
    assert work.runs_to_train(empty, study) == titles
    studies.start_run(empty, first, "cpu")
    studies.fail_run(empty, first, "loss is NaN\0")
    assert work.failed_runs(empty, study) == [("gradual", "loss is NaN")]
    assert work.runs_to_train(empty, study, tried_since=LONG_AGO) == titles[1:]
    assert studies.outcome(empty, first, LONG_AGO) == "failed"
    later = datetime.now(UTC) + timedelta(days=1)
    assert work.runs_to_train(empty, study, tried_since=later) == titles
    assert studies.outcome(empty, first, later) is None
    studies.start_run(empty, first, "cpu")
    studies.save_epoch(empty, first, make_epoch(1))
    studies.finish_run(empty, first)
    assert studies.outcome(empty, first, later) == studies.run_row(empty, first).status == "finished"
    assert work.runs_to_train(empty, study) == titles[1:]
    assert work.runs_to_evaluate(empty, study) == titles[:1]
    evaluate_run(empty, first)
    assert evaluations.outcome(empty, first, IDENTITY, datetime.now(UTC)) == "finished"
    assert work.runs_to_evaluate(empty, study) == []
    studies.plan_evaluations(empty, study, "other options")
    assert work.runs_to_evaluate(empty, study) == titles[:1]


def test_an_epoch_trained_again_replaces_what_followed(connection: Connection, filled: Filled) -> None:
    studies.save_epoch(connection, filled.runs[0], make_epoch(1, 0.25))
    found = frame(connection, "SELECT epoch, train_loss FROM epoch WHERE run_id = %(run)s", run=filled.runs[0])
    assert found.rows() == [(1, 0.25)]
    last = studies.checkpoints(connection, filled.runs[0])
    assert [(c.role, c.epoch) for c in last] == [("best", 1), ("last", 1)]


def test_losses_that_are_not_finite_are_refused_by_name(connection: Connection, filled: Filled) -> None:
    with pytest.raises(ValueError, match=r"epoch\.train_loss"):
        studies.save_epoch(connection, filled.runs[0], make_epoch(3, float("nan")))


def train(connection: Connection, run_id: int, phases: list[list[float]]) -> None:
    """Epochs with these validation losses; the best checkpoint is that of the last phase, as training keeps it."""
    studies.start_run(connection, run_id, "cpu")
    epoch = 0
    for phase, losses in enumerate(phases, start=1):
        best = epoch + losses.index(min(losses)) + 1
        for loss in losses:
            epoch += 1
            kept = (("best", min(best, epoch)), ("last", epoch))
            checkpoints = tuple(Checkpoint(role, phase, at, f"{at}.safetensors", "ab" * 32, 10) for role, at in kept)
            rates = {"head": 1e-3, "unit1": 1e-4}
            result = EpochResult(phase, epoch, loss, loss, 0.5, 2.0, rates, True, checkpoints)
            studies.save_epoch(connection, run_id, result)
    studies.finish_run(connection, run_id)


def test_a_better_epoch_of_an_earlier_phase_does_not_count(empty: Connection) -> None:
    sample_set = save_patches(empty)
    study, (first, *_) = save_study(empty, sample_set)
    other = RunConfig(backbone="resnet18", strategy="gradual", seed=1)
    second = studies.save_run(empty, study, digest("other"), sample_set, other, TrainingConfig(weights="none"), "1")
    train(empty, first, [[0.9, 0.2, 0.3], [0.8, 0.6, 0.7]])
    train(empty, second, [[0.9, 0.8], [0.5, 0.7]])
    numbers = [evaluate_run(empty, run) for run in (first, second)]
    plain = text("""UPDATE study SET config = config || '{"evaluation": {"selection": "loss"}}'""")
    empty.execute(plain)
    assert empty.execute(text("SELECT run_id, validation_loss FROM selected_runs")).all() == [(second, 0.5)]
    dated = text("SELECT run_id, best_epoch, validation_loss, epochs FROM table_2_accuracy ORDER BY run_id")
    assert empty.execute(dated).all() == [(first, 5, 0.6, 6), (second, 3, 0.5, 4)]
    samples, selected = evaluations.comparison_samples(empty, study)
    assert samples["evaluation_id"].unique().sort().to_list() == numbers
    assert selected == numbers[1:]


def test_a_detector_is_chosen_by_its_validation_froc(empty: Connection) -> None:
    sample_set = save_patches(empty)
    study, _ = save_study(empty, sample_set)
    found = {}
    for seed, loss, froc in ((5, 0.2, 0.3), (6, 0.9, 0.7)):
        config = RunConfig(backbone="resnet18", strategy="simultaneous", system="detector", seed=seed)
        of = sample_set, config, TrainingConfig(weights="none"), "1"
        run = found[seed] = studies.save_run(empty, study, digest(f"detector {seed}"), *of)
        kept = tuple(Checkpoint(role, 1, 1, "1.safetensors", "ab" * 32, 10) for role in ("best", "last"))
        studies.start_run(empty, run, "cpu")
        studies.save_epoch(empty, run, EpochResult(1, 1, 1.0, loss, None, 2.0, {"head": 1e-3}, True, kept, froc))
        studies.finish_run(empty, run)
    chosen = empty.execute(text("SELECT run_id, validation_loss, selection_loss FROM selected_runs")).all()
    assert [(run, loss) for run, loss, _ in chosen] == [(found[6], 0.9)]
    assert chosen[0][2] == pytest.approx(0.3)


def test_names_and_numbers_find_studies(connection: Connection, filled: Filled) -> None:
    second = fill(connection, 15).study
    with pytest.raises(ValueError, match=f"several studies are called 'tiny': .* {filled.study}, {second}"):
        studies.find_study(connection, "tiny")
    connection.execute(text("UPDATE study SET name = 'other' WHERE id = :id"), {"id": second})
    assert studies.find_study(connection, "tiny") == filled.study
    assert studies.find_study(connection, "other") == second
    assert studies.find_study(connection, str(second)) == second
    held = rf"holds no study 'third'; it holds {filled.study} \(tiny\), {second} \(other\)"
    with pytest.raises(ValueError, match=held):
        studies.find_study(connection, "third")
    with pytest.raises(ValueError, match="holds no study 'othre': did you mean 'other'"):
        studies.find_study(connection, "othre")
    with pytest.raises(ValueError, match="holds no study '999'"):
        studies.find_study(connection, "999")


def test_runs_are_found_in_the_newest_study_that_evaluated_them(connection: Connection, filled: Filled) -> None:
    assert studies.studies_of_runs(connection, filled.runs) == [filled.study]
    with pytest.raises(ValueError, match="no evaluation of run 98, 99"):
        studies.studies_of_runs(connection, (98, filled.runs[0], 99))


@pytest.mark.parametrize("ask", [studies.run_row, studies.study_row, studies.study_config])
def test_unknown_numbers_are_named(empty: Connection, ask: Any) -> None:
    with pytest.raises(ValueError, match="999"):
        ask(empty, 999)
