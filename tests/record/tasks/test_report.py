"""Which pages are rendered again."""

import json
import shutil
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from lesionlens.config.study import StudyConfig
from lesionlens.records import ReportData
from lesionlens.reporting.page import Rendered
from lesionlens.settings import home
from tasks import evaluate, report
from tests.record.tasks.conftest import STUDY, Planned


def test_a_page_is_kept_once_and_anew_whenever_it_shows_something_else(
    engine: Engine, plan: Callable[[StudyConfig], Planned]
) -> None:
    """Whatever the page shows may change after it was rendered: here the shortcut audit, which comes with no run."""
    study_id = plan(STUDY).study_id
    evaluate.plan_evaluations(study_id)

    def pages() -> int:
        assert report.render_report.fn(study_id).exists()
        with engine.connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM report")) or 0)

    assert [pages(), pages()] == [1, 1]
    evaluate.audit_shortcuts.fn(study_id)
    assert [pages(), pages()] == [2, 2]


def test_the_page_and_the_files_beside_it_are_of_one_piece(
    plan: Callable[[StudyConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the code has changed, also where `reports/` was deleted meanwhile."""
    study_id = plan(STUDY).study_id
    path = report.render_report.fn(study_id)
    shutil.rmtree(path.parent)

    def newer(data: ReportData) -> Rendered:
        return Rendered("<p>newer</p>", {"tables/new.csv": "newer"})

    monkeypatch.setattr(report, "render", newer)
    assert report.render_report.fn(study_id) == path
    assert path.read_text() == "<p>newer</p>"
    assert [file.name for file in path.with_suffix("").rglob("*.*")] == ["new.csv"]


def test_a_card_lies_beside_the_page_and_says_what_the_record_holds(
    engine: Engine, plan: Callable[[StudyConfig], Planned]
) -> None:
    """Of a study that is rendered and of one that is not; written again, it is the same."""
    study_id = plan(STUDY).study_id
    card = report.write_card.fn(study_id)
    assert sorted(file.name for file in card.parent.iterdir()) == ["card.json", "card.md"]
    written = json.loads(card.with_suffix(".json").read_text())
    assert (written["study"]["id"], written["model"], written["scores"]) == (study_id, None, [])
    included = {part["split"]: part["samples"] for part in written["data"]["included"]}
    assert included == {"train": 12, "validation": 3, "test": 3}
    page = report.render_report.fn(study_id)
    assert card.parent == page.with_suffix("")
    before = card.read_text(), card.with_suffix(".json").read_text()
    assert report.write_card.fn(study_id) == card
    assert (card.read_text(), card.with_suffix(".json").read_text()) == before


@pytest.mark.parametrize(
    "name", ["../../../escaped", "CC/MLO 1.5 mm", "界" * 80, "🫁" * 80, "..", "~/x", "a\\b", ".hidden", "-rf"]
)
def test_a_page_is_one_file_of_the_reports_whatever_the_study_is_called(
    name: str, plan: Callable[[StudyConfig], Planned]
) -> None:
    page = report.render_report.fn(plan(STUDY.model_copy(update={"name": name})).study_id)
    assert page.parent == home().reports and page.with_suffix("").is_dir()
    assert sorted(home().root.iterdir()) == [home().reports]
    assert sorted(home().reports.iterdir()) == [page.with_suffix(""), page]
