"""Views of evaluations against what they were made from."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_curve
from sqlalchemy import Engine

from db import read, tables
from db.frames import frame
from db.read_evaluations import FOUND


def test_every_view_of_a_study_is_read_by_name(engine: Engine, filled: Any) -> None:
    with engine.connect() as connection:
        for name in FOUND:
            found = read.evaluation_frame(connection, name, filled.study)
            assert found.height and set(found["study_id"]) == {filled.study}, name
            assert read.evaluation_frame(connection, name, filled.study + 1).is_empty()


def test_a_quadrants_patches_are_those_of_its_kind(engine: Engine, filled: Any) -> None:
    with engine.connect() as connection:
        quadrants = read.evaluation_frame(connection, "quadrants", filled.study)
        samples = frame(connection, "SELECT run_id, sample_id, true_code, correct, hit FROM sample_results")
    assert quadrants["code"].unique().sort().to_list() == ["BM", "MM", "all"]
    for row in quadrants.iter_rows(named=True):
        expected = samples.filter(run_id=row["run_id"], correct=row["correct"], hit=row["located"])
        if row["code"] != "all":
            expected = expected.filter(true_code=row["code"])
        assert row["sample_ids"] == sorted(expected["sample_id"].to_list())


def test_the_confusion_matrix_is_scikit_learns_with_the_intervals_that_were_entered(
    engine: Engine, filled: Any
) -> None:
    entered = tables.confusion_interval
    with engine.begin() as connection:
        # one that was evaluated before intervals were kept
        connection.execute(entered.delete().where(entered.c.evaluation_id == filled.evaluations[1]))
        matrix = frame(connection, "SELECT * FROM confusion_matrix ORDER BY run_id, true_ordinal, predicted_ordinal")
        samples = frame(connection, "SELECT evaluation_id, true_code, predicted_code FROM sample_results")
    codes = matrix["true_code"].unique(maintain_order=True).to_list()
    for number in filled.evaluations:
        found, of_run = matrix.filter(evaluation_id=number), samples.filter(evaluation_id=number)
        counts = confusion_matrix(of_run["true_code"], of_run["predicted_code"], labels=codes)
        assert found["count"].to_list() == counts.ravel().tolist()
        shares = counts / counts.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found["row_fraction"].to_numpy(), shares.ravel())
        bounds = (0.25, 0.75) if number == filled.evaluations[0] else (None, None)
        assert found.select("low", "high").rows() == [bounds] * 9


def test_the_roc_curve_is_scikit_learns(engine: Engine, filled: Any) -> None:
    with engine.connect() as connection:
        curves = read.evaluation_frame(connection, "roc_curve", filled.study)
        predictions = frame(
            connection,
            "SELECT evaluation_id, l.ordinal, y.probabilities FROM prediction AS y JOIN sample AS p"
            " ON p.id = y.sample_id"
            " JOIN label AS l ON l.id = p.label_id",
        )
    for number in filled.evaluations:
        rows = predictions.filter(evaluation_id=number)
        scores = np.array(rows["probabilities"].to_list())
        for ordinal in range(3):
            false, true, _ = roc_curve(rows["ordinal"] == ordinal, scores[:, ordinal], drop_intermediate=False)
            found = curves.filter(evaluation_id=number, ordinal=ordinal)
            np.testing.assert_allclose(found["false_positive_rate"].to_numpy(), false[1:])
            np.testing.assert_allclose(found["true_positive_rate"].to_numpy(), true[1:])


def test_common_lesions_stand_beside_the_other_populations(engine: Engine, filled: Any) -> None:
    with engine.connect() as connection:
        found = read.evaluation_frame(connection, "localization_scores", filled.study)
        spread = read.evaluation_frame(connection, "seed_spread", filled.study)
        assert read.is_compared(connection, filled.study)
        first = tables.study_score.c.evaluation_id == filled.evaluations[0]
        connection.execute(tables.study_score.delete().where(first))
        assert not read.is_compared(connection, filled.study)
    headline = found.filter(headline=True).group_by("population").len()
    assert dict(headline.iter_rows()) == {"correct_lesions": 2, "common_lesions": 2}
    assert found.filter(population="correct_lesions")["whole_patch"].to_list() == pytest.approx([0.2] * 16)
    common = spread.filter(population="common_lesions")
    assert common["mean"].to_list() == pytest.approx([0.4, 0.4]) and common["seeds"].to_list() == [1, 1]


def test_attributes_of_every_patch(engine: Engine, filled: Any) -> None:
    with engine.connect() as connection:
        found = read.sample_attributes(connection, filled.sample_set)
        patches = read.load_samples(connection, filled.sample_set)
        assert read.study_sample_set(connection, filled.study) == filled.sample_set
        with pytest.raises(ValueError, match="no study 99"):
            read.study_sample_set(connection, 99)
    assert found["sample_id"].to_list() == patches.ids.tolist()
    assert (found["pathology"].is_null().to_numpy() == ~patches.has_mask).all()
    assert set(found["window_width"]) == {100} and set(found["view"]) == {"CC"}
