"""Tables of classification: what is selected, compared and averaged."""

from dataclasses import replace

import polars as pl
import pytest

from lesionlens.reporting.tables import classification
from tests.report_data import rare


def test_questions_of_two_classes_are_asked_where_the_record_answers_them(data, changed):
    table = classification.binary(data)
    assert table.frame["side"].to_list() == ["lesion", "malignant"] * 4 and len(table.notes) == 2
    assert table.frame.select("auc", "auc_low", "specificity", "n").row(0) == (0.8, 0.75, 0.8, 60)
    own = changed(data, binary_scores=data.frames["binary_scores"].filter(side="lesion"))
    assert classification.binary(own).notes == table.notes[:1]  # own classes may know no malignancy


def test_operating_points_are_those_of_the_record(data, changed):
    point = {"question": "diagnosis", "level": "breast", "measure": "sensitivity", "at": 0.9}
    here = pl.all_horizontal(pl.col(name) == value for name, value in point.items()) & (pl.col("run_id") == 2)
    table = classification.operating(
        changed(data, operating_points={
            "value": pl.when(here).then(0.41).otherwise("value"), "low": pl.when(here).then(0.3).otherwise("low"),
            "threshold": pl.when(here).then(0.123).otherwise("threshold"),
        })
    )  # fmt: skip
    assert len(table) == 4 * 2 * 3
    (row,) = [row for row, at in zip(table.rows, table.frame.iter_rows(named=True), strict=True)
              if (at["run_id"], at["question"], at["level"]) == (2, "diagnosis", "breast")]  # fmt: skip
    assert [cell.text for cell in row.cells[1:]] == [
        "which lesion",
        "breast",
        "60",
        "0.90",
        "0.75",
        "0.83",
        "0.41",
        "0.83",
    ]
    assert row.cells[7].lines == ("0.30–0.85", "above 0.123") and row.cells[8].lines == ("0.73–0.93",)


def test_a_point_without_a_threshold_is_a_dash(data, changed):
    first = {"run_id": 1, "question": "detection", "level": "lesion"}
    known = pl.col("at").is_null() | ~pl.all_horizontal(pl.col(name) == pl.lit(value) for name, value in first.items())
    unknown = {name: pl.when(known).then(name) for name in ("value", "low", "high", "threshold")}
    row = next(iter(classification.operating(changed(data, operating_points=unknown)).rows))
    assert [cell.text for cell in row.cells[4:]] == ["0.90", "–", "–", "–", "–"]
    assert len(classification.operating(changed(data, operating_points=data.frames["operating_points"].clear()))) == 0


def test_a_difference_is_significant_at_the_level_of_the_intervals(data, changed):
    """A corrected p of 0.03 at 95 %, and at 99 %."""
    pair = rare("comparison").with_columns(low=pl.lit(0.02), p_holm=pl.lit(0.03))
    marks = []
    for level in (0.95, 0.99):
        given = changed(data, comparison=pair)
        config = given.study["config"] | {"evaluation": given.study["config"]["evaluation"] | {"confidence": level}}
        (line,) = classification.comparisons(replace(given, study=given.study | {"config": config})).rows
        marks.append(line.cells[3].mark == "strong")
    assert marks == [True, False]


@pytest.mark.parametrize(
    ("low", "p_holm", "significant"), [(0.02, 0.01, True), (0.02, 0.12, False), (-0.1, 0.01, False), (None, None, None)]
)
def test_a_difference_is_significant_where_interval_and_corrected_p_agree(data, changed, low, p_holm, significant):
    pair = rare("comparison").with_columns(low=pl.lit(low, pl.Float64), p_holm=pl.lit(p_holm, pl.Float64))
    table = classification.comparisons(changed(data, comparison=pair))
    (line,) = table.rows
    assert (line.cells[3].mark == "strong") == bool(significant)
    assert [cell.text for cell in line.cells[:2]] == ["VGG11 with batch norm, gradual unfreezing",
                                                      "VGG11 with batch norm, simultaneous training"]  # fmt: skip


@pytest.mark.parametrize(
    ("seeds", "lowest", "highest", "significant"),
    [
        (3, 0.01, 0.2, True),
        (3, -0.02, 0.2, False),
        (3, -0.3, -0.1, False),
        (1, None, None, True),
        (0, None, None, True),
    ],
)
def test_a_difference_is_significant_where_it_has_one_sign_over_seeds(
    data, changed, seeds, lowest, highest, significant
):
    ends = {"lowest": pl.lit(lowest, pl.Float64), "highest": pl.lit(highest, pl.Float64)}
    pair = rare("comparison").with_columns(low=pl.lit(0.02), p_holm=pl.lit(0.01), seeds=pl.lit(seeds), **ends)
    table = classification.comparisons(changed(data, comparison=pair))
    (line,) = table.rows
    assert (line.cells[3].mark == "strong") == significant
    assert ("Over seeds" in [column.head for column in table.filled]) == (seeds > 1)


def test_pairs_of_the_models_shown_only(make_data, changed):
    data = make_data(per_class=1)
    pairs = [(a, b) for a in range(1, 5) for b in range(a + 1, 5)]
    compared = pl.concat([rare("comparison").with_columns(run_a=pl.lit(a), run_b=pl.lit(b)) for a, b in pairs])
    chosen = data.frames["selected_runs"].filter(pl.col("run_id") > 2)
    part = changed(data, comparison=compared, selected_runs=chosen, runs={"batch_size": 8 * pl.col("run_id")})
    table, whole = classification.comparisons(part), classification.comparisons(changed(data, comparison=compared))
    assert table.frame.select("run_a", "run_b").rows() == [(3, 4)] and len(whole) == 6
    assert len(table.notes) == len(whole.notes) + 1  # other pairs are not in the table


def test_confusions_are_proportions_of_the_true_class(data):
    (model, table), *_ = classification.confusion(data)
    cells = data.frames["confusion_matrix"].filter(run_id=model.run_id)
    for true, predicted in (("B", "B"), ("MM", "BC")):
        cell = cells.filter(true_code=true, predicted_code=predicted).row(0, named=True)
        found = table.frame.filter(code=true).row(0, named=True)
        assert (found[f"to_{predicted}"], found[f"to_{predicted}_n"]) == (cell["row_fraction"], cell["count"])
        assert (found[f"to_{predicted}_low"], found[f"to_{predicted}_high"]) == (cell["low"], cell["high"])
    assert [row.cells[n + 1].shade for n, row in enumerate(table.rows)] == table.frame.select(
        pl.concat_list(f"to_{code}" for code in table.frame["code"]).list.get(pl.int_range(pl.len()))
    ).to_series().to_list()


def test_reports_end_in_their_averages(data):
    (_, table), *_ = classification.class_reports(data)
    assert table.frame["name"].to_list()[-3:] == ["malignant mass", "macro average", "weighted average"]
    assert table.frame["recall"].to_list() == [0.72] * 5 + [0.65] * 2
    assert table.frame["support"].to_list() == [12] * 5 + [None] * 2


def test_seeds_are_shown_where_there_are_several(data, changed):
    assert not len(classification.seeds(data))
    (row,) = classification.seeds(changed(data, seed_spread=rare("seed_spread"))).frame.to_dicts()
    assert (row["seeds"], row["accuracy"], row["accuracy_low"], row["ll_high"]) == (3, 0.7, 0.6, 0.75)
    other = rare("seed_spread").with_columns(policy=pl.when(pl.col("policy").is_not_null()).then(pl.lit("otsu")))
    (row,) = classification.seeds(changed(data, seed_spread=other)).frame.to_dicts()
    assert row["ll"] is None  # not the policy of the headline score


def test_one_run_for_each_model_needs_no_selection(data):
    assert not len(classification.selection(data))


def test_runs_of_a_model_stand_by_validation_loss_whatever_their_accuracy(make_data, changed):
    data = make_data(runs=(("vgg16", "gradual"), ("vgg16", "gradual"), ("resnet50", "gradual")), per_class=1)
    loss, accuracy = ({1: 0.9, 2: 0.4, 3: 0.7}, {1: 0.99, 2: 0.5, 3: 0.6})
    values = {
        "validation_loss": pl.col("run_id").replace_strict(loss),
        "accuracy": pl.col("run_id").replace_strict(accuracy),
    }
    chosen = data.frames["selected_runs"].filter(pl.col("run_id") > 1)
    table = classification.selection(changed(data, table_2_accuracy=values, selected_runs=chosen))
    assert table.frame.select("run_id", "selected", "series").rows() == [(2, True, 0), (1, False, None), (3, True, 1)]
