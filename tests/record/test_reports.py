"""What a report is made of, the SQL that it shows, and the pages that are kept."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import Connection, Engine, insert, text

from db import reports
from db.bulk import frame
from db.queries.report import SHOWN
from db.reports import report_data
from db.tables.scores import run_score
from lesionlens.reporting.verdict import JUDGED, answers
from tasks.report import find_studies, render_comparison
from tests.record.makers import Filled, fill
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
    # one seed a cell of the grid, none of them guided, one attribution method, no start, no case's score, no film
    empty = {name for name, found in data.frames.items() if found.is_empty()}
    assert empty == {
        "guidance", "seed_spread", "external", "method_maps", "black_boxes", "explained_inside",
        "film_lesions", "marks", "breast_scores", "transfer", "transfer_correlations",
    }  # fmt: skip


def test_answers_are_replaced_and_are_those_of_the_view(scored: Connection, filled: Filled) -> None:
    made = answers(report_data(scored, filled.study, JUDGED)).sort("question", "group_name", nulls_last=False)
    assert made.height and made["question"].unique().sort().to_list() == ["detection", "diagnosis"]
    for found in (made, made.head(1)):
        reports.save_answers(scored, filled.study, found)
        query = "SELECT * FROM answers ORDER BY question, group_name NULLS FIRST"
        assert_frame_equal(frame(scored, query).select(made.columns), found)


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
        [0.3] * 5 + [0.2] * 5
    )
    assert frames["localization_scores"].filter(pl.col("group_name") == "mass")["ll"].to_list() == [0.3]


def test_the_headline_scores_and_inputs_of_a_study(connection: Connection, filled: Filled) -> None:
    data = reports.report_data(connection, filled.study)
    assert data.study["name"] == "tiny"
    headline = data.frames["table_4_localization"].filter("headline")
    assert headline.select("policy", "ll", "accuracy_x_ll", "whole_patch", "random_weights").rows() == [
        ("validation", 0.5, 0.5 * (1 - 1 / 6), 0.2, 0.1),
        ("validation", 0.4, 0.4 * (1 - 2 / 6), 0.2, 0.1),
    ]


def test_lesions_without_a_fair_control_are_counted_and_enter_no_change(connection: Connection, filled: Filled) -> None:
    """The second run misclassifies the first of four test lesions; the last one here has no control."""
    lost = text(
        "UPDATE occlusion SET control_probabilities = NULL, control_change = NULL, places = 0, lesion_change = 0.9,"
        " reason = 'no_fair_control' WHERE evaluation_id = :evaluation"
        " AND sample_id = (SELECT max(sample_id) FROM occlusion WHERE evaluation_id = :evaluation)"
    )
    connection.execute(lost, {"evaluation": filled.evaluations[1]})
    found = report_data(connection, filled.study, ("occlusion_fairness",)).frames["occlusion_fairness"]
    (whole,) = found.filter(run_id=filled.runs[1], group_name="all").iter_rows(named=True)
    assert (whole["lesions"], whole["unfair"]) == (3, 1)
    assert (whole["lesion_change"], whole["control_change"]) == (pytest.approx(0.1), pytest.approx(0.1))


def test_an_unknown_study_is_named(empty: Connection) -> None:
    with pytest.raises(ValueError, match="999"):
        reports.report_data(empty, 999)


def test_pages_are_kept_once(connection: Connection, filled: Filled) -> None:
    assert reports.newest_report(connection, filled.study) is None
    first = reports.save_report(connection, filled.study, "/x.html", b"<p>page</p>")
    second = reports.save_report(connection, filled.study, "/x.html", b"<p>newer</p>")
    assert reports.newest_report(connection, filled.study) == b"<p>newer</p>" and first != second
    assert reports.save_report(connection, filled.study, "/x.html", b"<p>page</p>") == first
    assert reports.newest_report(connection, filled.study) == b"<p>page</p>", "the one rendered last"
    number = reports.save_comparison(connection, "/y.html", b"<p>two</p>")
    assert reports.save_comparison(connection, "/z.html", b"<p>two</p>") == number
    assert reports.find_comparison(connection, number) == b"<p>two</p>"
    assert reports.find_comparison(connection, number + 1) is None


def test_two_studies_stand_on_one_page(
    filled_engine: Engine, filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the task that people's command runs."""
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "home"))
    with filled_engine.begin() as connection:
        second = fill(connection, 15)
    named = find_studies((str(filled.study), str(second.study), str(filled.study)), ())
    page, number = render_comparison.fn(named, ())
    html = page.read_text()
    for study in (filled.study, second.study):
        assert f"tiny ({study})" in html
    assert page == tmp_path / f"home/reports/compare-{filled.study}-{second.study}.html"
    assert len((page.with_suffix("") / "tables/models.csv").read_text().splitlines()) == 5
    with filled_engine.connect() as connection:
        assert reports.find_comparison(connection, number) == page.read_bytes()
    assert render_comparison.fn(named, ()) == (page, number)
    chosen, other = render_comparison.fn(find_studies((), (filled.runs[1],)), (filled.runs[1],))
    assert other != number
    assert len((chosen.with_suffix("") / "tables/models.csv").read_text().splitlines()) == 2
