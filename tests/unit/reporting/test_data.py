"""Names and colours of runs in a grid; frames made wide."""

import dataclasses

import polars as pl
import pytest

from lesionlens.reporting.data import confidence, frame, models, rows, samples_tested, shown, sql, wide, with_models
from tests.report_data import build


@pytest.fixture(scope="module")
def grid(make_data, changed):
    """Two cells of the grid, three batch sizes each; the last run of each is selected."""
    data = make_data(runs=(("vgg16", "gradual"), ("resnet50", "gradual")) * 3, per_class=2)
    selected = data.frames["selected_runs"].filter(pl.col("run_id") > 4)
    return changed(data, runs={"batch_size": 8 * (1 + (pl.col("run_id") - 1) // 2)}, selected_runs=selected)


def test_selected_runs_are_called_by_their_cell_and_lead_the_colours(grid):
    assert [(model.title, model.series) for model in shown(grid)] == [
        ("VGG16, gradual unfreezing", 0),
        ("ResNet50, gradual unfreezing", 1),
    ]
    every = models(grid)
    assert len({model.title for model in every}) == len({model.series for model in every}) == 6
    assert every[0].title == "VGG16, gradual unfreezing, batch 8"
    assert every[4].full == "VGG16, gradual unfreezing, batch 24"


def test_rows_are_all_of_a_frame_or_those_with_the_values_given(grid):
    assert [row["run_id"] for row in rows(grid, "runs")] == [1, 2, 3, 4, 5, 6]
    assert [row["run_id"] for row in rows(grid, "runs", backbone="vgg16", batch_size=16)] == [3]


def test_rows_of_the_models_shown_stand_in_their_order(grid):
    found = with_models(grid, pl.DataFrame({"run_id": [6, 2, 5, 6], "value": [1, 2, 3, 4]}))
    assert found.select("run_id", "series", "value").rows() == [(5, 0, 3), (6, 1, 1), (6, 1, 4)]


def test_wide_keeps_order_and_leaves_nothing_for_what_is_missing():
    long = pl.DataFrame({"run": [2, 1, 2], "name": ["a", "a", "b"], "value": [1.0, 2.0, 3.0], "low": [0.5, None, 2.5]})
    found = wide(long, ["run"], "name", ("a", "b", "c"), {"value": "", "low": "_low"}, "x_")
    assert found.columns == ["run", "x_a", "x_a_low", "x_b", "x_b_low", "x_c", "x_c_low"]
    assert found.rows() == [(2, 1.0, 0.5, 3.0, 2.5, None, None), (1, 2.0, None, None, None, None, None)]


def test_queries_and_frames_are_known_by_name(data):
    assert sql(data, ["labels", "runs"]) == "SELECT * FROM labels;\n\nSELECT * FROM runs;"
    with pytest.raises(KeyError, match="no frame 'no such'"):
        frame(data, "no such")


def test_the_interval_is_named_by_its_level(data, make_data):
    config = data.study["config"] | {"evaluation": data.study["config"]["evaluation"] | {"confidence": 0.9}}
    assert [confidence(data), confidence(make_data(config=config, per_class=1))] == ["95\u00a0% CI", "90\u00a0% CI"]


def test_samples_are_called_what_they_are() -> None:
    data = build()
    films = dataclasses.replace(data, study=data.study | {"config": data.study["config"] | {"unit": "image"}})
    assert [samples_tested(each, n) for each in (data, films) for n in (1, 9)] == [
        "1 test patch", "9 test patches", "1 test film", "9 test films",
    ]  # fmt: skip
