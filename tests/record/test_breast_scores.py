"""Breasts are scored in the record as in the curves by breast."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Connection, text

from db import evaluations
from db.queries import arrays
from lesionlens.audits.cells import Stored, probabilities_of
from lesionlens.scoring.binary import binary_views
from lesionlens.scoring.operating import breasts, operating_points
from tests.record.makers import Filled

ROWS = text(
    "SELECT patient, laterality, label, score, views FROM breast_scores WHERE run_id = :run"
    " ORDER BY patient, laterality"
)
KNOWN = text(
    "UPDATE lesion SET pathology = CASE label.code WHEN 'MM' THEN 'MALIGNANT' ELSE 'BENIGN' END"
    " FROM label WHERE label.id = lesion.label_id"
)


@pytest.mark.parametrize("films", [False, True])
def test_the_curve_by_breast_is_of_these_scores(connection: Connection, filled: Filled, films: bool) -> None:
    connection.execute(KNOWN)
    connection.execute(text("UPDATE image SET patient = 'P' || id / 3, laterality = 'LEFT'"))
    samples = arrays.load_samples(connection, filled.sample_set)
    attributes = arrays.sample_attributes(connection, filled.sample_set)
    if films:
        samples = replace(samples, breasts=samples.masks)
        connection.execute(text("UPDATE sample_set SET scale = 4"))
    views, test = binary_views(samples, attributes), samples.split("test")
    assert "malignant" in views
    stored = Stored(**evaluations.decided(connection, filled.study))
    probabilities = probabilities_of(stored, test)[filled.evaluations[0]]
    given = test, probabilities, breasts(test, attributes)
    points = operating_points(given, given, {"malignant": views["malignant"]}, 100, 0.95, 0)
    rows = connection.execute(ROWS, {"run": filled.runs[0]}).all()
    lesions = np.isin(test.labels, views["malignant"][1])
    assert len(rows) == len(set(given[2][lesions])) and sum(row.views for row in rows) == lesions.sum()
    assert any(row.views > 1 for row in rows) and {row.label for row in rows} == {"malignant", "benign"}
    truth = np.array([row.label == "malignant" for row in rows])
    scores = np.array([row.score for row in rows])
    above = (scores[truth][:, None] > scores[~truth]) + 0.5 * np.isclose(scores[truth][:, None], scores[~truth])
    [area] = points.filter(level="breast", measure="auc")["value"]
    assert area == pytest.approx(above.mean(), abs=1e-6)


def test_no_breast_is_scored_where_a_class_is_neither(connection: Connection, filled: Filled) -> None:
    connection.execute(KNOWN)
    assert connection.execute(ROWS, {"run": filled.runs[0]}).all()
    connection.execute(text("UPDATE lesion SET pathology = 'UNKNOWN' WHERE pathology = 'BENIGN'"))
    assert not connection.execute(ROWS, {"run": filled.runs[0]}).all()
