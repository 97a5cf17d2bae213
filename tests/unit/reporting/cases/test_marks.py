"""Marks over lesions on the page: those at 1 false mark per film, films with a missed lesion first."""

import dataclasses

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lesionlens.detection.froc import sensitivities
from lesionlens.detection.marks import Lesions, Marks
from lesionlens.records import ReportData
from lesionlens.reporting.cases.gallery import gallery
from lesionlens.reporting.cases.marks import film_marks
from lesionlens.reporting.data import shown
from tests.report_data import rare

BOX = ("x0", "y0", "x1", "y1")


def report(data: ReportData, marks: list[tuple], lesions: list[tuple], films: int, scale: int = 1) -> ReportData:
    """Films 1 to `films`; marks (film, x, y, score) of 2 pixels and lesions (film, x, y) of 10 pixels a side."""
    lesion_rows = [
        {"sample_id": f, "ordinal": 0, "x0": x, "y0": y, "x1": x + 10.0, "y1": y + 10.0} for f, x, y in lesions
    ]
    mark_rows = [
        {
            "run_id": 1,
            "sample_id": f,
            "ordinal": 0,
            "x0": x - 1.0,
            "y0": y - 1.0,
            "x1": x + 1.0,
            "y1": y + 1.0,
            "score": s,
        }
        for f, x, y, s in marks
    ]
    schema = dict.fromkeys(("sample_id", "ordinal"), pl.Int64) | dict.fromkeys(BOX, pl.Float64)
    frames = {
        "marks": pl.DataFrame(mark_rows, {"run_id": pl.Int64} | schema | {"score": pl.Float64}),
        "film_lesions": pl.DataFrame(lesion_rows, schema),
        "gallery": pl.DataFrame({"sample_id": list(range(1, films + 1)), "scale": [scale] * films}),
    }
    return dataclasses.replace(data, frames=data.frames | frames)


def test_films_come_with_misses_first_then_false_marks(data: ReportData) -> None:
    marks = [(1, 5, 5, 0.9), (2, 50, 50, 0.8), (2, 5, 5, 0.7), (3, 50, 50, 0.6), (4, 60, 60, 0.95), (4, 5, 5, 0.9)]
    lesions = [(film, 0, 0) for film in (1, 2, 3, 4)]
    found = film_marks(report(data, marks, lesions, 5))
    assert [found[1, film]["outcome"] for film in range(1, 6)] == ["found", "false", "missed", "false", "clear"]
    assert sorted(range(1, 6), key=lambda film: found[1, film]["rank"]) == [3, 4, 2, 1, 5]
    assert found[1, 3]["lesions"] == [[0, 0, 10, 10, False]] and found[1, 3]["marks"] == [[49, 49, 51, 51, 0.6, False]]


def test_boxes_are_in_pixels_of_the_mask(data: ReportData) -> None:
    found = film_marks(report(data, [(1, 5, 5, 0.9)], [(1, 0, 0)], 1, scale=4))
    assert found[1, 1]["lesions"] == [[0, 0, 2.5, 2.5, True]] and found[1, 1]["marks"][0][:4] == [1, 1, 1.5, 1.5]


def test_a_run_that_marks_nothing_misses_every_lesion(data: ReportData) -> None:
    """A run whose marks were judged has an outcome on every film, whether there are any or not; others have none."""
    given = report(data, [(1, 5, 5, 0.9)], [(1, 0, 0), (2, 0, 0)], 3)
    judged = rare("detections").head(1)
    judged = pl.concat([judged.with_columns(run_id=pl.lit(run), method=pl.lit(method)) for run, method in
                        ((2, "grad_cam"), (3, "bright_blob"))])  # fmt: skip
    found = film_marks(dataclasses.replace(given, frames=given.frames | {"detections": judged}))
    assert [found[2, film]["outcome"] for film in (1, 2, 3)] == ["missed", "missed", "clear"]
    assert {run for run, _ in found} == {1, 2} and found[2, 1]["marks"] == []


places = st.tuples(
    st.integers(1, 4), st.sampled_from([5, 50]), st.sampled_from([5, 50]), st.sampled_from([0.2, 0.5, 0.9])
)


@given(marks=st.lists(places, min_size=1, max_size=20), lesions=st.sets(st.integers(1, 4), max_size=4))
def test_what_is_shown_is_the_headline_s_operating_point(data: ReportData, marks: list, lesions: set[int]) -> None:
    """As many lesions as the FROC curve says at 1 false mark per film, and no more false marks than films."""
    at = [(film, 0, 0) for film in sorted(lesions)]
    found = film_marks(report(data, marks, at, 4))
    false = sum(not mark[5] for film in found.values() for mark in film["marks"])
    met = sum(lesion[4] for film in found.values() for lesion in film["lesions"])
    assert false <= 4
    boxes = np.array([(x - 1, y - 1, x + 1, y + 1) for _, x, y, _ in marks], dtype=np.float64)
    made = Marks(np.array([m[0] - 1 for m in marks]), boxes, np.array([m[3] for m in marks]), np.full(len(marks), -1))
    real = Lesions(np.array([f - 1 for f, *_ in at], np.int64), np.tile([0.0, 0, 10, 10], (len(at), 1)),
                   np.zeros(len(at), np.int64))  # fmt: skip
    if at:
        assert met / len(at) == sensitivities(made, real, 4, at=[1.0])[0]


def test_patches_have_no_marks_and_films_do(data: ReportData) -> None:
    without = gallery(data, shown(data))
    assert not without["marked"] and "marks" not in without["samples"][0]["results"]["1"]
    first = data.frames["gallery"]["sample_id"][0]
    rows = report(data, [(first, 5, 5, 0.9)], [(first, 0, 0)], 1).frames
    marked = dataclasses.replace(data, frames=data.frames | {n: rows[n] for n in ("marks", "film_lesions")})
    results = gallery(marked, shown(marked))["samples"][0]["results"]
    assert results["1"]["outcome"] == "found" and "outcome" not in results["2"]
