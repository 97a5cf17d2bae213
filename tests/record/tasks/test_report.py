"""Which pages are rendered again."""

import pytest
from prefect.logging import disable_run_logger
from sqlalchemy import Engine, text

from lesionlens.config import StudyConfig
from tasks import report


def test_a_page_is_kept_until_the_study_or_the_code_changes(
    engine: Engine, planned: tuple[StudyConfig, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, study, _ = planned

    def pages() -> int:
        with disable_run_logger():
            assert report.render_report.fn(study).exists()
        with engine.connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM report")) or 0)

    assert [pages(), pages()] == [1, 1]
    monkeypatch.setattr(report, "__version__", "a newer one")
    assert [pages(), pages()] == [2, 2]
