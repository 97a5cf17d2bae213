"""The queries of a report: the SQL that a page shows gives the frame that the page was made from."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import Connection, insert

from db.bulk import frame
from db.reports import SHOWN, report_data, report_inputs
from db.studies import studies_of_runs
from db.tables.scores import run_score
from tests.record.makers import Filled
from tests.report_data import build


def further_scores(connection: Connection, evaluation: int) -> None:
    """Scores that the filled record lacks: of one group, without threshold, averages, of the occlusion test."""
    mapped = {"method": "grad_cam", "target": "predicted", "population": "correct_lesions", "group_name": "all"}
    plain = {"population": "all", "group_name": "all"}
    scores = [
        mapped | {"name": "ll", "policy": "validation", "group_name": "mass", "value": 0.3},
        mapped | {"name": "hit_rate", "value": 0.6},
        plain | {"name": "macro_f1", "value": 0.25},
        plain | {"name": "occlusion_lesion_drop", "population": "correct_lesions", "value": 0.5},
    ]
    for score in scores:
        connection.execute(insert(run_score).values(score | {"evaluation_id": evaluation, "n": 6}))


@pytest.fixture
def scored(connection: Connection, filled: Filled) -> Connection:
    """The connection to the filled record, with further_scores."""
    further_scores(connection, filled.evaluations[0])
    return connection


def test_what_is_shown_gives_what_was_read_to_a_reader_of_views(scored: Connection, filled: Filled) -> None:
    data = report_data(scored, filled.study)
    scored.exec_driver_sql("SET LOCAL ROLE lesionlens_reader")
    for name in SHOWN:
        assert_frame_equal(frame(scored, data.sql[name]), data.frames[name])  # type: ignore[arg-type]
    # one seed in every cell of the grid
    assert [name for name, found in data.frames.items() if found.is_empty()] == ["seed_spread"]


def test_only_the_frames_named_are_read(scored: Connection, filled: Filled) -> None:
    data = report_data(scored, filled.study, ("labels", "runs"))
    assert set(data.frames) == {"labels", "runs"} and set(data.sql) == {"labels", "runs", "studies"}
    assert data.study["id"] == filled.study and data.study["config"]["name"] == data.study["name"]


def test_the_frames_of_the_tests_of_reports_have_the_columns_of_the_record(scored: Connection, filled: Filled) -> None:
    data = report_data(scored, filled.study)
    made = build(per_class=1).frames
    assert set(made) == set(data.frames)
    differing = {name: set(found.columns) ^ set(data.frames[name].columns) for name, found in made.items()}
    assert {name: columns for name, columns in differing.items() if columns} == {}


def test_scores_of_lesions_classified_by_threshold_and_average(scored: Connection, filled: Filled) -> None:
    frames = report_data(scored, filled.study).frames
    assert frames["threshold_free_scores"].select("score", "value").rows() == [("hit_rate", 0.6)]
    assert frames["average_scores"].select("average", "score", "value").rows() == [("macro", "f1", 0.25)]
    headline = frames["table_4_localization"].filter("headline")
    of_all = frames["localization_scores"].filter(population="correct_lesions", group_name="all")
    assert of_all.select("run_id", "ll", "whole_patch").equals(headline.select("run_id", "ll", "whole_patch"))
    assert frames["baseline_differences"].filter(group_name="all")["difference"].to_list() == pytest.approx(
        [0.3] * 4 + [0.2] * 4
    )
    assert frames["localization_scores"].filter(pl.col("group_name") == "mass")["ll"].to_list() == [0.3]


def test_what_a_report_depends_on_names_every_evaluation(connection: Connection, filled: Filled) -> None:
    study, inputs = report_inputs(connection, filled.study)
    assert study.id == filled.study and len(inputs) == len(filled.runs)
    assert all(f"evaluation {number}" in text for number, text in zip(filled.evaluations, inputs, strict=True))


def test_runs_are_found_in_the_newest_study_that_evaluated_them(connection: Connection, filled: Filled) -> None:
    assert studies_of_runs(connection, filled.runs) == [filled.study]
    with pytest.raises(ValueError, match="no evaluation of run 98, 99"):
        studies_of_runs(connection, (98, filled.runs[0], 99))
