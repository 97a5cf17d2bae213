"""Two studies of the record on one page, by the task that people's command runs."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from db import read
from tasks.report import find_studies, render_comparison


@pytest.fixture
def two(engine: Engine, tiny: Any) -> tuple[Any, Any]:
    """Two filled studies on different patches, both called tiny."""
    with engine.begin() as connection:
        return tiny.fill(connection), tiny.fill(connection, 15)


def test_two_studies_stand_on_one_page(two, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "home"))
    first, second = two
    named = find_studies.fn((str(first.study), str(second.study), str(first.study)), ())
    page, number = render_comparison.fn(named, ())
    html = page.read_text()
    for filled in two:
        assert f"tiny ({filled.study})" in html
    assert page == tmp_path / f"home/reports/compare-{first.study}-{second.study}.html"
    assert len((page.with_suffix("") / "tables/models.csv").read_text().splitlines()) == 5
    with engine.connect() as connection:
        assert read.comparison_page(connection, number) == page.read_bytes()
    assert render_comparison.fn(named, ()) == (page, number)
    chosen, other = render_comparison.fn(find_studies.fn((), (first.runs[1],)), (first.runs[1],))
    assert other != number
    assert len((chosen.with_suffix("") / "tables/models.csv").read_text().splitlines()) == 2


def test_names_and_numbers_find_studies(two, engine: Engine) -> None:
    first, second = two
    with engine.begin() as connection:
        with pytest.raises(ValueError, match=f"several studies are called 'tiny': .* {first.study}, {second.study}"):
            read.find_study(connection, "tiny")
        connection.execute(text("UPDATE study SET name = 'other' WHERE id = :id"), {"id": second.study})
        assert read.find_study(connection, "tiny") == first.study
        assert read.find_study(connection, "other") == second.study
        assert read.find_study(connection, str(second.study)) == second.study
        with pytest.raises(ValueError, match=r"holds no study 'third'; it holds 1 \(tiny\), 2 \(other\)"):
            read.find_study(connection, "third")
        with pytest.raises(ValueError, match="holds no study '999'"):
            read.find_study(connection, "999")
