"""FROC curves stand where their rows say, and the table beside them says the same."""

from math import log2

import pytest

from lesionlens.reporting.charts.detection import froc_curves
from lesionlens.reporting.page import render
from lesionlens.reporting.tables.localization import froc_points
from tests.report_data import rare

from .drawn import lines, marks


def test_nothing_is_drawn_without_films(data, rendered) -> None:
    assert froc_curves(data) == () and froc_points(data) is None
    assert "FROC" not in rendered.page


def test_every_method_has_its_curve_and_its_number(data, changed) -> None:
    (chart,) = froc_curves(changed(data, detections=rare("detections")))
    drawn = lines(chart, 2)
    assert [line[:, 0].tolist() for line in drawn] == [[log2(at) for at in (0.25, 0.5, 1, 2, 4)]] * 2
    assert drawn[0][:, 1] == pytest.approx([0.2, 0.4, 0.6, 0.72, 0.8])
    assert len(marks(chart)) == 10
    assert "0.60" in chart.summary and "0.30" in chart.summary


def test_the_table_has_a_row_for_every_method_and_says_what_stands_beside(data, changed) -> None:
    found = changed(data, detections=rare("detections"))
    spec = froc_points(found)
    assert spec is not None and spec.frame.select("method", "1").rows() == [
        ("boxes", pytest.approx(0.6)), ("bright_blob", pytest.approx(0.3)),
    ]  # fmt: skip
    beside = " ".join(spec.notes)
    assert all(number in beside for number in ("0.30", "0.10 to 0.50", "0.61", "0.47", "0.70"))
    assert "FROC" in render(found).page
