"""The queries of a report: the SQL that a page shows gives the frame that the page was made from."""

import re
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import Connection, Engine, insert

from db import read, tables
from db.frames import frame
from db.report_frames import SHOWN, report_data
from tests.report_data import build


def further_scores(connection: Connection, evaluation: int) -> None:
    """Scores that the filled record lacks: of one group, without threshold, averages, of the occlusion test."""
    mapped = {"method": "grad_cam", "target": "predicted", "population": "correct_lesions", "group_name": "all"}
    plain = {"population": "all", "group_name": "all"}
    scores = [
        mapped | {"name": "ll", "policy": "validation", "group_name": "mass", "value": 0.3},
        mapped | {"name": "hit_rate", "value": 0.6},
        plain | {"name": "macro_f1", "value": 0.25},
        plain | {"name": "erase_lesion_drop", "population": "correct_lesions", "value": 0.5},
    ]
    for score in scores:
        connection.execute(insert(tables.run_score).values(score | {"evaluation_id": evaluation, "n": 6}))


@pytest.fixture
def connection(engine: Engine, filled: Any) -> Any:
    with engine.connect() as connection:
        further_scores(connection, filled.evaluations[0])
        yield connection


def test_what_is_shown_gives_what_was_read_to_a_reader_of_views(connection: Connection, filled: Any) -> None:
    data = report_data(connection, filled.study)
    connection.exec_driver_sql("SET LOCAL ROLE lesionlens_reader")
    for name in SHOWN:
        assert_frame_equal(frame(connection, data.sql[name]), data.frames[name])  # type: ignore[arg-type]
    # one seed in every cell of the grid
    assert [name for name, found in data.frames.items() if found.is_empty()] == ["seed_spread"]


def test_a_query_finds_rows_of_its_study_alone(connection: Connection, filled: Any) -> None:
    data = report_data(connection, filled.study)
    number = re.compile(r"(study_id|study\.id|s\.id) = \d+")
    for name, text in data.sql.items():
        assert number.search(text), name
        assert frame(connection, number.sub(rf"\1 = {filled.study + 1}", text)).is_empty(), name


def test_only_the_frames_named_are_read(connection: Connection, filled: Any) -> None:
    data = report_data(connection, filled.study, ("labels", "runs"))
    assert set(data.frames) == {"labels", "runs"} and set(data.sql) == {"labels", "runs", "studies"}
    assert data.study["id"] == filled.study and data.study["config"]["name"] == data.study["name"]


def test_the_frames_of_the_tests_of_reports_have_the_columns_of_the_record(connection: Connection, filled: Any) -> None:
    data = report_data(connection, filled.study)
    made = build(per_class=1).frames
    assert set(made) == set(data.frames)
    differing = {name: set(found.columns) ^ set(data.frames[name].columns) for name, found in made.items()}
    assert {name: columns for name, columns in differing.items() if columns} == {}


def test_scores_of_lesions_classified_by_threshold_and_average(connection: Connection, filled: Any) -> None:
    frames = report_data(connection, filled.study).frames
    assert frames["threshold_free_scores"].select("score", "value").rows() == [("hit_rate", 0.6)]
    assert frames["average_scores"].select("average", "score", "value").rows() == [("macro", "f1", 0.25)]
    headline = frames["table_4_localization"].filter("headline")
    of_all = frames["localization_scores"].filter(population="correct_lesions", group_name="all")
    assert of_all.select("run_id", "ll", "whole_patch").equals(headline.select("run_id", "ll", "whole_patch"))
    assert frames["baseline_differences"].filter(group_name="all")["difference"].to_list() == pytest.approx(
        [0.3] * 4 + [0.2] * 4
    )
    assert frames["localization_scores"].filter(pl.col("group_name") == "mass")["ll"].to_list() == [0.3]


def test_runs_are_found_in_the_newest_study_that_evaluated_them(engine: Engine, filled: Any) -> None:
    with engine.connect() as connection:
        assert read.studies_of_runs(connection, filled.runs) == [filled.study]
        with pytest.raises(ValueError, match="no evaluation of run 98, 99"):
            read.studies_of_runs(connection, (98, filled.runs[0], 99))
