"""Which pages are rendered again."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from lesionlens.config import StudyConfig
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
