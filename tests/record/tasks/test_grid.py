"""Runs of a step: which are missing, free or failed, and in which order they are worked on."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from db import studies
from db.locks import lease
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet
from lesionlens.errors import TrainingError, WeightsMissingError
from lesionlens.settings import settings
from tasks import evaluate, grid, train
from tests.record.tasks.conftest import STUDY, Planned

TWO = STUDY.model_copy(
    update={
        "grid": GridConfig(
            backbones=("resnet18",), strategies=("simultaneous",), sets=(HyperSet(batch_size=8),), seeds=(0, 1)
        )
    }
)


class Task:
    """Stands for the training task: enters what it is told to, and notes what it was asked for."""

    def __init__(self, engine: Engine, *states: State[Any]) -> None:
        self.engine, self.states = engine, list(states)
        self.asked: list[tuple[int, bool]] = []
        self.timeout: float | None = None

    def with_options(self, timeout_seconds: float) -> "Task":
        self.timeout = timeout_seconds
        return self

    def __call__(self, run_id: int, wait: bool, return_state: bool, **_: Any) -> State[Any]:
        self.asked.append((run_id, wait))
        state = self.states.pop(0)
        if state.is_completed() and state.data == "finished":
            with self.engine.begin() as connection:
                studies.finish_run(connection, run_id)
        return state


def step(planned: Planned) -> grid.Step:
    return grid.Step("train", planned.study_id, datetime.now(UTC))


def test_a_run_that_another_process_works_on_is_left_to_it_and_waited_for_at_the_end(
    engine: Engine, plan: Callable[[StudyConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(TWO)
    first, second = planned.runs
    task = Task(engine, Completed(data="finished"), Completed(data="finished"))
    monkeypatch.setattr(train, "train_run", task)
    with lease(engine, train.lock_name(first)):
        assert grid.complete("train", planned.study_id) == 2
    assert task.asked == [(second, False), (first, True)]
    assert task.timeout == settings().run_timeout
    assert grid.complete("train", planned.study_id) == 0


@pytest.mark.usefixtures("no_semaphores")
def test_without_semaphores_runs_come_one_after_another(
    engine: Engine, plan: Callable[[StudyConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, task = plan(TWO), Task(engine, Completed(data="finished"), Completed(data="finished"))
    monkeypatch.setenv("LESIONLENS_RUNS_PER_DEVICE", "2")
    monkeypatch.setattr(train, "train_run", task)
    assert grid.complete("train", planned.study_id) == 2
    assert [run for run, _ in task.asked] == list(planned.runs)


def test_a_run_is_free_if_nobody_works_on_it_and_it_is_not_done(
    engine: Engine, plan: Callable[[StudyConfig], Planned]
) -> None:
    planned = plan(TWO)
    first, second = planned.runs
    assert [grid._is_free(step(planned), run) for run in planned.runs] == [True, True]
    with lease(engine, train.lock_name(first)):
        assert [grid._is_free(step(planned), run) for run in planned.runs] == [False, True]
    with engine.begin() as connection:
        studies.finish_run(connection, second)
    assert [grid._is_free(step(planned), run) for run in planned.runs] == [True, False]


def test_a_failed_run_is_tried_again_by_the_next_step_only(
    engine: Engine, plan: Callable[[StudyConfig], Planned]
) -> None:
    planned = plan(TWO)
    before = step(planned)
    with engine.begin() as connection:
        studies.fail_run(connection, planned.runs[0], "a NaN loss")
    titles = [f"resnet18 simultaneous #1 seed {seed}" for seed in (0, 1)]
    assert grid.missing_runs(before) == [(planned.runs[1], titles[1])]
    assert grid.missing_runs(step(planned)) == list(zip(planned.runs, titles, strict=True))
    assert grid.failed_runs(planned.study_id) == [(titles[0], "a NaN loss")]


def test_a_run_that_exceeds_its_time_is_recorded_as_failed_and_the_grid_goes_on(
    engine: Engine, plan: Callable[[StudyConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(TWO)
    late = Failed(name="TimedOut", message="Task run exceeded timeout of 4.0 second(s)", data=TimeoutError())
    monkeypatch.setattr(train, "train_run", Task(engine, late, Completed(data="finished")))
    assert grid.complete("train", planned.study_id) == 2
    ((title, reason),) = grid.failed_runs(planned.study_id)
    assert title.endswith("seed 0") and "timeout of 4.0" in reason


def test_an_evaluation_that_exceeds_its_time_leaves_its_run_finished(
    engine: Engine, plan: Callable[[StudyConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(STUDY.model_copy(update={"evaluation": STUDY.evaluation}))
    evaluate.plan_evaluations(planned.study_id)
    with engine.begin() as connection:
        studies.finish_run(connection, planned.runs[0])
    late = Failed(name="TimedOut", message="Task run exceeded timeout of 4.0 second(s)", data=TimeoutError())
    monkeypatch.setattr(evaluate, "evaluate_run", Task(engine, late))
    assert grid.complete("evaluate", planned.study_id) == 1
    ((_, reason),) = grid.failed_runs(planned.study_id)
    assert "timeout of 4.0" in reason
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM run")) == "finished"
    with pytest.raises(TrainingError, match="1 of 1 failed"):
        grid.refuse_total_failure(planned.study_id)


def test_any_other_error_ends_the_step(
    engine: Engine, plan: Callable[[StudyConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(TWO)
    monkeypatch.setattr(train, "train_run", Task(engine, Failed(data=ValueError("a bug"))))
    with pytest.raises(ValueError, match="a bug"):
        grid.complete("train", planned.study_id)
    assert grid.failed_runs(planned.study_id) == []


def test_missing_weights_stop_the_step_before_the_first_run(
    engine: Engine, plan: Callable[[StudyConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = TWO.training.model_copy(update={"weights": "imagenet"})
    planned, task = plan(TWO.model_copy(update={"training": wanted})), Task(engine)

    def missing(files: list[str], weights: str) -> None:
        raise WeightsMissingError(", ".join(files))

    monkeypatch.setattr(train, "train_run", task)
    monkeypatch.setattr(grid, "fetch_weights", missing)
    with pytest.raises(WeightsMissingError, match="resnet18"):
        grid.complete("train", planned.study_id)
    assert task.asked == [] and grid.failed_runs(planned.study_id) == []


def test_a_read_of_the_record_is_tried_again(
    plan: Callable[[StudyConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, make_engine, tried = plan(TWO), grid.make_engine, list[int]()

    def restarting() -> Engine:
        tried.append(1)
        if len(tried) < 3:
            raise OperationalError("SELECT 1", {}, psycopg.OperationalError("the database system is starting up"))
        return make_engine()

    monkeypatch.setattr("tasks.db_task.time.sleep", lambda _: None)
    monkeypatch.setattr(grid, "make_engine", restarting)
    assert len(grid.missing_runs(step(planned))) == 2 and len(tried) == 3
