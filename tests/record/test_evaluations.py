"""Evaluations: what is refused, and their views against what they were made from."""

import re
from typing import Any

import numpy as np
import polars as pl
import pytest
from psycopg import sql
from sklearn.metrics import confusion_matrix, roc_curve
from sqlalchemy import Connection, delete

from db import evaluations, studies
from db.bulk import frame
from db.queries import arrays
from db.reports import report_data
from db.tables.scores import confusion_interval, study_score
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.frames import FRAMES
from lesionlens.identity import digest
from lesionlens.records import Evaluation
from tests.record.makers import Filled, evaluate_run, make_evaluation


def view(connection: Connection, filled: Filled, name: str, *order: str) -> pl.DataFrame:
    """The rows of a view for the filled study, sorted by columns."""
    query = sql.SQL("SELECT * FROM {} WHERE study_id = {}").format(sql.Identifier(name), filled.study)
    return frame(connection, query).sort(order) if order else frame(connection, query)


def test_every_frame_has_its_table() -> None:
    assert evaluations.TABLES.keys() == FRAMES.keys()
    for name, table in evaluations.TABLES.items():
        columns = {evaluations.LABELS.get(column, column) for column in FRAMES[name]}
        assert {column.name for column in table.columns} - {"id", "evaluation_id"} == columns, name


@pytest.fixture
def good(connection: Connection, filled: Filled) -> Evaluation:
    """An evaluation of the filled record's samples."""
    test = arrays.load_samples(connection, filled.sample_set).split("test")
    return make_evaluation(test.ids.tolist(), test.labels.tolist())


BAD = {
    r"localization\.iou": ("localizations", "iou", pl.lit(float("nan"))),
    r"activation_map\.grid": ("maps", "grid", pl.lit([float("inf")] * 4, dtype=pl.List(pl.Float32))),
    "no label with ordinal 7": ("quadrants", "label", pl.lit(7, dtype=pl.Int16)),
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_stored_is_refused_by_name(
    connection: Connection, filled: Filled, good: Evaluation, message: str
) -> None:
    name, column, value = BAD[message]
    bad = Evaluation(good.frames | {name: good.frames[name].with_columns(value.alias(column))})
    with pytest.raises(ValueError, match=message):
        evaluations.save_evaluation(connection, filled.runs[0], "other", EvaluationConfig(), 1.0, bad)


def test_a_proportion_beyond_one_by_rounding_is_stored_as_one(
    connection: Connection, filled: Filled, good: Evaluation
) -> None:
    over = good.frames["localizations"].with_columns(pl.col("iou") * 0 + 1 + 1e-9)
    result = Evaluation(good.frames | {"localizations": over})
    number = evaluations.save_evaluation(connection, filled.runs[0], "other", EvaluationConfig(), 1.0, result)
    query = "SELECT DISTINCT iou FROM localization WHERE evaluation_id = %(number)s AND iou IS NOT NULL"
    assert frame(connection, query, number=number)["iou"].to_list() == [1.0]


def test_every_view_of_a_study_is_of_that_study_alone(connection: Connection, filled: Filled) -> None:
    """What a report shows, taken for another study, has no row."""
    number = re.compile(r"(study_id|study\.id|s\.id) = \d+")
    shown = report_data(connection, filled.study).sql
    for name, text in ((name, part) for name, script in shown.items() for part in script.split(";\n\n")):
        other, times = number.subn(rf"\1 = {filled.study + 1}", text)
        assert times and frame(connection, other).is_empty(), name  # type: ignore[arg-type]


def test_the_confusion_matrix_is_scikit_learns_with_the_intervals_that_were_entered(
    connection: Connection, filled: Filled
) -> None:
    # an evaluation without intervals beside one with
    second = confusion_interval.c.evaluation_id == filled.evaluations[1]
    connection.execute(delete(confusion_interval).where(second))
    matrix = view(connection, filled, "confusion_matrix", "run_id", "true_ordinal", "predicted_ordinal")
    samples = frame(connection, "SELECT evaluation_id, true_code, predicted_code FROM sample_results")
    codes = matrix["true_code"].unique(maintain_order=True).to_list()
    for number in filled.evaluations:
        found, of_run = matrix.filter(evaluation_id=number), samples.filter(evaluation_id=number)
        expected = confusion_matrix(of_run["true_code"], of_run["predicted_code"], labels=codes)
        assert found["count"].to_list() == expected.ravel().tolist()
        proportions = expected / expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found["row_fraction"].to_numpy(), proportions.ravel())
        bounds = (0.25, 0.75) if number == filled.evaluations[0] else (None, None)
        assert found.select("low", "high").rows() == [bounds] * 9


def test_the_roc_curve_is_scikit_learns(connection: Connection, filled: Filled) -> None:
    curves = view(connection, filled, "roc_curve")
    predictions = frame(
        connection,
        "SELECT evaluation_id, l.ordinal, y.probabilities FROM prediction AS y JOIN sample AS s ON s.id = y.sample_id"
        " JOIN label AS l ON l.id = s.label_id",
    )
    for number in filled.evaluations:
        rows = predictions.filter(evaluation_id=number)
        scores = np.array(rows["probabilities"].to_list())
        for ordinal in range(3):
            false, true, _ = roc_curve(rows["ordinal"] == ordinal, scores[:, ordinal], drop_intermediate=False)
            found = curves.filter(evaluation_id=number, ordinal=ordinal).sort("threshold", descending=True)
            np.testing.assert_allclose(found["false_positive_rate"].to_numpy(), false[1:])
            np.testing.assert_allclose(found["true_positive_rate"].to_numpy(), true[1:])


def test_common_lesions_stand_beside_the_other_populations(connection: Connection, filled: Filled) -> None:
    found = view(connection, filled, "localization_scores")
    headline = found.filter(headline=True).group_by("population").len()
    assert dict(headline.iter_rows()) == {"correct_lesions": 2, "common_lesions": 2}
    assert found.filter(population="correct_lesions")["whole_patch"].to_list() == pytest.approx([0.2] * 16)
    common = view(connection, filled, "seed_spread").filter(population="common_lesions")
    assert common["mean"].to_list() == pytest.approx([0.4, 0.4]) and common["seeds"].to_list() == [1, 1]


def test_a_study_is_compared_once_every_evaluation_has_its_common_scores(
    connection: Connection, filled: Filled
) -> None:
    assert evaluations.is_compared(connection, filled.study)
    connection.execute(delete(study_score).where(study_score.c.evaluation_id == filled.evaluations[0]))
    assert not evaluations.is_compared(connection, filled.study)
    assert evaluations.is_compared(connection, filled.study + 1)


def test_subgroups_stand_beside_their_baselines(connection: Connection, filled: Filled) -> None:
    found = view(connection, filled, "subgroup_scores", "run_id", "name")
    ends: list[Any] = [f"{name}{end}" for name in ("whole_patch", "random_weights") for end in ("", "_low", "_high")]
    first = found.filter(run_id=filled.runs[0])
    assert first.select("name", "method", "value").rows() == [("accuracy", None, 0.5), ("ll", "grad_cam", 0.5)]
    assert first.select(ends).rows() == [(None,) * 6, (0.5, 0.1, 0.9) * 2]


def test_a_shortcut_audit_is_found_by_its_options(connection: Connection, filled: Filled) -> None:
    assert not evaluations.has_shortcuts(connection, filled.sample_set, "other options")
    found = view(connection, filled, "shortcut_audit")
    ends = found.select("lowest_model_accuracy", "highest_model_accuracy").unique().rows()
    assert ends == [pytest.approx((4 / 6, 5 / 6))]


def test_a_difference_has_its_range_over_runs_of_equal_seeds(connection: Connection, filled: Filled) -> None:
    """Gradual minus simultaneous by seed is 0.1, 0.3 and -0.2; the last is stored the other way round."""
    first = studies.run_row(connection, filled.runs[0])
    training, numbers = (
        first.training,
        dict(zip([(0, "gradual"), (0, "simultaneous")], filled.evaluations, strict=True)),
    )
    for seed, strategy in ((1, "gradual"), (1, "simultaneous"), (2, "simultaneous"), (2, "gradual")):
        run = first.config.model_copy(update={"seed": seed, "strategy": strategy})
        number = studies.save_run(
            connection, filled.study, digest(run, "r"), filled.sample_set, run, training, f"{strategy} {seed}"
        )
        numbers[seed, strategy] = evaluate_run(connection, number)
    values = {
        ((0, "gradual"), (0, "simultaneous")): 0.1,
        ((1, "gradual"), (1, "simultaneous")): 0.3,
        ((2, "simultaneous"), (2, "gradual")): 0.2,
        ((0, "gradual"), (1, "simultaneous")): 0.9,
        ((0, "gradual"), (1, "gradual")): 0.8,
    }
    compared = [
        {"evaluation_a": numbers[a], "evaluation_b": numbers[b], "score": "ll", "value_a": 0.5, "value_b": 0.5,
         "difference": difference, "low": -1.0, "high": 1.0, "p": 0.5, "p_holm": 0.5, "n": 6}
        for (a, b), difference in values.items()
    ]  # fmt: skip
    compared.append(compared[0] | {"score": "accuracy"})
    evaluations.save_comparisons(connection, filled.study, pl.DataFrame(compared))
    found = view(connection, filled, "model_comparisons").filter(score="ll").sort("difference")
    assert found.select("difference", "strategy_a", "seeds", "lowest", "highest").rows() == [
        (0.1, "gradual", 3, -0.2, 0.3),
        (0.2, "simultaneous", 3, -0.3, 0.2),
        (0.3, "gradual", 3, -0.2, 0.3),
        (0.8, "gradual", 0, None, None),
        (0.9, "gradual", 3, -0.2, 0.3),
    ]
    alone = view(connection, filled, "model_comparisons").filter(score="accuracy")
    assert alone.select("seeds", "lowest", "highest").rows() == [(1, 0.1, 0.1)]
