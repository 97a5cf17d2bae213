"""The benchmarks of the record and of the report, at a size of seconds: they write and read what the record holds."""

import numpy as np
import pytest
from sqlalchemy import Engine, text

from benchmarks import million, record, report
from lesionlens.reporting.page import render

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def setting(engine: Engine) -> record.Setting:
    return record.prepare(engine, 12, 6, 64)


def test_every_side_writes_and_reads_the_same(setting: record.Setting, capsys: Capture) -> None:
    record.measure_writing(setting, 1, 1)
    record.measure_reading(setting, 1)
    record.measure_patches(setting, 1)
    assert capsys.readouterr().out.count("goal 1.5") == 3


def test_a_record_of_many_studies_answers_every_question(engine: Engine, setting: record.Setting) -> None:
    planned = million.plan(engine, setting, 1)
    million.fill(engine, setting, planned)
    study, runs = planned[0]
    numbers = {"study": study, "run": runs[20], "other": study}
    with engine.connect() as connection:
        for title, query in million.questions().items():
            million.ask(connection, title, text(query), numbers)
        for view, asked in million.view_queries(engine):
            million.ask(connection, view, asked, numbers)


def test_the_report_of_a_full_grid_is_rendered() -> None:
    data = report.full(1, 2)
    assert len(np.unique(data.frames["runs"]["run_id"])) == len(report.GRID)
    assert "Paired differences" in render(data).page
