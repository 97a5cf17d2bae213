"""Which pages are rendered again."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from lesionlens.config import StudyConfig
from lesionlens.settings import home
from tasks import report
from tests.record.tasks.conftest import STUDY, Planned


def test_a_page_is_kept_until_the_study_or_the_code_changes(
    engine: Engine, plan: Callable[[StudyConfig], Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id = plan(STUDY).study_id

    def pages() -> int:
        assert report.render_report.fn(study_id).exists()
        with engine.connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM report")) or 0)

    assert [pages(), pages()] == [1, 1]
    monkeypatch.setattr(report, "__version__", "a newer one")
    assert [pages(), pages()] == [2, 2]


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
