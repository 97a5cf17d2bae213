"""The queries that a report shows to be copied, on the record that the report is made from."""

from typing import Any

import polars as pl
import pytest
from lesionlens.reporting.queries import COMPARED, QUERIES, compared, query
from sqlalchemy import Connection, insert

from db.reports import report_data
from db.tables.scores import run_score
from lesionlens.config import EvaluationConfig
from lesionlens.records import ReportData
from tests.record.makers import Filled


def further_scores(connection: Connection, evaluation: int) -> None:
    """Scores that the filled record lacks: of one group, without threshold, averages, of the occlusion test."""
    mapped = {"method": "grad_cam", "target": "predicted", "population": "correct_lesions", "group_name": "all"}
    plain = {"population": "all", "group_name": "all"}
    scores = [
        mapped | {"name": "ll", "policy": EvaluationConfig().policy, "group_name": "mass", "value": 0.3},
        mapped | {"name": "hit_rate", "value": 0.6},
        plain | {"name": "macro_f1", "value": 0.25},
        plain | {"name": "weighted_f1", "value": 0.75},
        plain | {"name": "occlusion_lesion_drop", "population": "correct_lesions", "value": 0.5},
    ]
    for score in scores:
        connection.execute(insert(run_score).values(score | {"evaluation_id": evaluation, "n": 6}))


@pytest.fixture
def report(connection: Connection, filled: Filled) -> Any:
    """The connection, and what a report is rendered from."""
    further_scores(connection, filled.evaluations[0])
    data = report_data(connection, filled.study)
    connection.exec_driver_sql("SET LOCAL ROLE lesionlens_reader")  # who copies a query may be no more than that
    return connection, data


def asked(connection: Connection, name: str, data: ReportData) -> list[dict[str, Any]]:
    """The rows of a shown query, run as a reader would."""
    return [dict(row._mapping) for row in connection.exec_driver_sql(query(name, data))]


def test_every_query_runs_and_finds_rows_of_this_study_alone(report: Any) -> None:
    connection, data = report
    other = ReportData(data.study | {"id": data.study["id"] + 1}, data.frames)
    # One seed per cell of the grid: a spread over seeds has no row here.
    empty = {name for name in QUERIES if not asked(connection, name, data)}
    assert empty == {"seeds"}
    assert not [name for name in QUERIES if asked(connection, name, other)]


@pytest.mark.parametrize(
    ("name", "frame", "columns"),
    [
        ("table_1", "table_1_patches", ("label", "train", "test")),
        ("table_2", "table_2_accuracy", ("accuracy", "low", "high", "n")),
        ("table_3", "table_3_auc", ("code", "auc", "auc_hard")),
        ("variants", "table_4_localization", ("method", "policy", "ll", "low", "high", "n")),
        ("comparisons", "comparison", ("score", "difference", "low", "high", "p_holm", "n")),
        ("exclusions", "exclusion_reasons", ("reason", "lesions")),
        ("exclusion_list", "exclusions", ("reason", "detail")),
        ("normalisation", "normalisation", ("mean", "std")),
        ("leaks", "split_check", ("entity", "split_a", "split_b", "shared")),
        ("runs", "runs", ("seed", "status", "digest", "evaluation_seconds")),
        ("shortcuts", "shortcut_audit", ("features", "accuracy")),
    ],
)
def test_a_shown_query_gives_what_the_table_was_made_of(report: Any, name: str, frame: str, columns: tuple) -> None:
    connection, data = report
    found = asked(connection, name, data)
    expected = data.frames[frame].to_dicts()
    shown, meant = ([{key: row[key] for key in columns} for row in rows] for rows in (found, expected))
    assert sorted(shown, key=repr) == sorted(meant, key=repr)


def test_shortcuts_stand_beside_the_selected_networks(report: Any) -> None:
    connection, data = report
    chosen = data.frames["selected_runs"]["run_id"].to_list()
    accuracies = data.frames["table_2_accuracy"].filter(pl.col("run_id").is_in(chosen))["accuracy"]
    ends = {(row["weakest_network"], row["strongest_network"]) for row in asked(connection, "shortcuts", data)}
    assert ends == {(accuracies.min(), accuracies.max())} and accuracies.len()


def test_headline_groups_and_scores_without_threshold(report: Any) -> None:
    connection, data = report
    headline = data.frames["table_4_localization"].filter(pl.col("headline"))
    beside = asked(connection, "baselines", data)
    assert [row["ll"] for row in beside] == [ll for ll in headline["ll"] for _ in range(4)]
    values = {row["baseline"]: row["of_baseline"] for row in beside}
    assert values == {name: headline[name][0] for name in values} and len(values) == 4
    assert [row["difference"] for row in beside] == pytest.approx([0.3] * 4 + [0.2] * 4)
    assert [(row["group_name"], row["ll"]) for row in asked(connection, "groups", data)] == [("mass", 0.3)]
    assert [(row["score"], row["value"]) for row in asked(connection, "other_scores", data)] == [("hit_rate", 0.6)]


def test_classification_reports_end_in_their_averages(report: Any) -> None:
    connection, data = report
    found = asked(connection, "classes", data)
    assert sorted(row["f1"] for row in found if row["support"] is not None) == sorted(data.frames["class_scores"]["f1"])
    averages = [(row["code"], row["f1"]) for row in found if row["f1"] is not None and row["support"] is None]
    assert averages == [("macro average", 0.25), ("weighted average", 0.75)]


def test_queries_over_several_studies_are_read_as_shown(report: Any) -> None:
    connection, data = report
    found = {name: list(connection.exec_driver_sql(compared(name, [data, data])).mappings()) for name in COMPARED}
    accuracy = data.frames["table_2_accuracy"]
    headline = data.frames["table_4_localization"].filter(pl.col("headline"))
    assert [row["accuracy"] for row in found["models"]] == accuracy["accuracy"].to_list()
    assert [row["ll"] for row in found["models"]] == headline["ll"].to_list()
    assert len(found["samples"]) == data.frames["sample_results"].height
    assert found["patches"][0]["test"] == data.frames["table_1_patches"]["test"].sum()
    assert len(found["origins"]) == len(found["options"]) == 1
