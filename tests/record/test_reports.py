"""What a report is made of, the queries that it shows, and the pages that are kept."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from db import reports
from tasks.report import find_studies, render_comparison
from tests.record.makers import Filled, fill


def test_report_data_holds_every_frame_with_rows(connection: Connection, filled: Filled) -> None:
    data = reports.report_data(connection, filled.study)
    assert [name for name, found in data.frames.items() if found.is_empty()] == []
    assert data.study["name"] == "tiny"
    headline = data.frames["table_4_localization"].filter("headline")
    assert headline.select("policy", "ll", "accuracy_x_ll", "whole_patch", "random_weights").rows() == [
        ("validation", 0.5, 0.5 * (1 - 1 / 6), 0.2, 0.1),
        ("validation", 0.4, 0.4 * (1 - 2 / 6), 0.2, 0.1),
    ]
    study, inputs = reports.report_inputs(connection, filled.study)
    assert study.name == "tiny" and len(inputs) == 2


def test_an_unknown_study_is_named(empty: Connection) -> None:
    with pytest.raises(ValueError, match="999"):
        reports.report_data(empty, 999)


def test_pages_are_kept_once(connection: Connection, filled: Filled) -> None:
    first = reports.save_report(connection, filled.study, "d", "/x.html", b"<p>page</p>")
    assert reports.save_report(connection, filled.study, "d", "/x.html", b"other") == first
    assert reports.find_report(connection, filled.study, "d") == b"<p>page</p>"
    assert reports.find_report(connection, filled.study, "e") is None
    connection.execute(text("UPDATE report SET created_at = now() - interval '1 day'"))
    reports.save_report(connection, filled.study, "e", "/x.html", b"<p>newer</p>")
    assert reports.newest_report(connection, filled.study) == b"<p>newer</p>"
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
    named = find_studies.fn((str(filled.study), str(second.study), str(filled.study)), ())
    page, number = render_comparison.fn(named, ())
    html = page.read_text()
    for study in (filled.study, second.study):
        assert f"tiny ({study})" in html
    assert page == tmp_path / f"home/reports/compare-{filled.study}-{second.study}.html"
    assert len((page.with_suffix("") / "tables/models.csv").read_text().splitlines()) == 5
    with filled_engine.connect() as connection:
        assert reports.find_comparison(connection, number) == page.read_bytes()
    assert render_comparison.fn(named, ()) == (page, number)
    chosen, other = render_comparison.fn(find_studies.fn((), (filled.runs[1],)), (filled.runs[1],))
    assert other != number
    assert len((chosen.with_suffix("") / "tables/models.csv").read_text().splitlines()) == 2
