"""Tables I to IV, with the published values beside this study's."""

import polars as pl
import pytest

from lesionlens.reporting.tables.published import published
from lesionlens.reporting.tables.study import DIFFERENCE, HARD, PUBLISHED, table_1, table_2, table_3, table_4


@pytest.fixture(scope="module")
def matched(make_data):
    """Two models that were published."""
    return make_data(runs=(("vgg19", "gradual"), ("resnet50", "simultaneous")))


def row(table, **key):
    return table.frame.filter(**key).row(0, named=True)


def test_counts_stand_beside_the_published_ones_with_their_difference(data):
    table = table_1(data, published())
    calcification, total = row(table, code="BC"), row(table, label="all")
    assert calcification["train_difference"] == 60 - 358 and calcification["test_difference"] == 12 - 110
    assert [total[f"published_{name}"] for name in ("train", "test", "support")] == [2530, 857, 619]
    assert (total["train_and_validation"], total["test"], total["mark"]) == (300, 60, "total")


def test_differences_are_this_study_minus_the_published_value(matched):
    known = published()
    for table, name, ours in ((table_2(matched, known), 0.66, "accuracy"), (table_4(matched, known), 0.12, "ll")):
        found = row(table, run_id=1)
        assert found[f"published_{ours}"] == name
        for gap, value in (("difference", ours), ("difference_low", "low"), ("difference_high", "high")):
            assert found[gap] == pytest.approx(found[value] - name)


def test_published_models_without_a_run_of_ours_are_rows_of_their_own(matched, data):
    known = published()
    for table in (table_2(matched, known), table_4(matched, known)):
        others = table.frame.filter(mark="published").drop_nulls("strategy")
        assert others.select("backbone", "strategy").rows() == [("resnet50", "gradual"), ("vgg19", "simultaneous")]
    assert table_2(data, known).frame.filter(mark="published").height == 5  # the reference, too
    accuracies = table_4(data, known).frame.filter(mark="published")["accuracy"].to_list()
    assert accuracies == [0.66, 0.67, 0.64, 0.7]


def test_areas_come_from_probabilities_from_hard_predictions_and_as_published(matched, data):
    known = published()
    table = table_3(matched, known)
    own = table.frame.filter(run_id=1)
    assert own["source"].to_list() == ["from probabilities", HARD, PUBLISHED, DIFFERENCE]
    assert own["auc_mean"].to_list() == pytest.approx([0.89, 0.79, 0.78, 0.01])
    assert own["auc_B_low"].to_list()[3] == pytest.approx(0.79 - 0.05 - 0.94) and own["auc_B"][2] == 0.94
    other = table.frame.filter(pl.col("run_id").is_null())
    assert other["model"].to_list() == ["ResNet50, gradual unfreezing", "VGG19, simultaneous training"]
    assert set(table_3(data, known).frame["source"]) == {"from probabilities", HARD, PUBLISHED}


def test_notes_on_differences_stand_where_there_are_differences(matched, data, make_data):
    known = published()
    tables = (table_2, table_3, table_4)
    assert ["taken as exact" in " ".join(build(matched, known).notes) for build in tables] == [True] * 3
    assert ["taken as exact" in " ".join(build(data, known).notes) for build in tables] == [False] * 3
    assert ["VGG11 with batch norm, ResNet18" in " ".join(build(data, known).notes) for build in tables] == [True] * 3


def test_classes_of_ones_own_have_no_published_columns(make_data):
    labels = (("ok", "healthy", "none", False), ("dent", "dent", "defect", True))
    data = make_data(labels=labels)
    for build in (table_1, table_2, table_3, table_4):
        table = build(data, published())
        assert "published" not in " ".join([*table.frame.columns, *table.notes])
        assert "published" not in table.frame.get_column("mark", default=pl.Series(["none"])).to_list()
