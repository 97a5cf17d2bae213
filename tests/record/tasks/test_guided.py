"""Guided and unguided runs of one grid, from training to the page."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Engine

from db.bulk import frame
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GuidanceConfig
from tasks.evaluate import compare_runs, evaluate_run, plan_evaluations
from tasks.report import render_report
from tasks.train import train_run
from tests.record.tasks.conftest import STUDY, Planned


def test_guided_and_unguided_runs_are_compared_by_pairs_and_shown_apart(
    engine: Engine, plan: Callable[[StudyConfig], Planned]
) -> None:
    grid = STUDY.grid.model_copy(update={"guidance": (GuidanceConfig(), GuidanceConfig(weight=3))})
    planned = plan(STUDY.model_copy(update={"grid": grid}))
    plan_evaluations(planned.study_id)
    for run in planned.runs:
        assert train_run.fn(run, "run", datetime.now(UTC)) == "finished"
        assert evaluate_run.fn(planned.study_id, run, "run", datetime.now(UTC)) == "finished"
    compare_runs.fn(planned.study_id)
    with engine.connect() as connection:
        found = frame(connection, "SELECT guidance, variant, measure FROM decisions WHERE question = 'guidance'")
        selected = frame(connection, "SELECT guidance, run_id FROM selected_runs ORDER BY run_id")
    assert selected.rows() == [("none", planned.runs[0]), ("weight 3", planned.runs[1])]
    measures = {name: set(found.filter(guidance=name, variant="all")["measure"]) for name in ("none", "weight 3")}
    plain = {"auc", "blank", *(f"{m}{end}" for m in ("hit", "energy", "iou") for end in ("", "_over_dealt"))}
    assert measures["none"] == plain
    assert measures["weight 3"] - plain == {f"{m}_difference" for m in ("auc", "blank", "hit", "energy", "iou")}
    page = render_report.fn(planned.study_id)
    text = page.read_text()
    assert "Models trained on annotations, ranked apart" in text and 'id="guidance-curve-title"' in text
    tables = page.with_suffix("") / "tables"
    _header, *rows = (tables / "table-4.csv").read_text().splitlines()
    assert "trained on annotations (weight 3)" in rows[-1]
    assert "trained on annotations" not in rows[0] and (tables / "guidance-size.csv").exists()
