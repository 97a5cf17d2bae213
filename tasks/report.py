"""Report: one read of the record, one self-contained page, its tables, figures and model card beside it."""

import shutil
import tempfile
from pathlib import Path

from db import reports
from db.engine import make_engine
from db.locks import lease
from db.studies import StudyRow, find_study, studies_of_runs, study_row
from lesionlens.identity import digest, file_name
from lesionlens.reporting.card.content import CARD, as_json, content
from lesionlens.reporting.card.markdown import markdown
from lesionlens.reporting.compare import render_comparison as compare
from lesionlens.reporting.page import render
from lesionlens.reporting.verdict import JUDGED, answers
from lesionlens.settings import home
from tasks.db_task import db_task, retried
from tasks.progress import run_logger


@db_task("render report", "report on study {study_id}")
def render_report(study_id: int) -> Path:
    """Render the study's page, keep it in the record and beside it; returns the file's path.

    It is rendered anew each time, which takes seconds: whatever it shows may have changed, and so may the code.
    """
    engine = make_engine()
    with lease(engine, f"report on study {study_id}"), engine.begin() as connection:
        study = study_row(connection, study_id)
        path = _page(study)
        reports.save_answers(connection, study_id, answers(reports.report_data(connection, study_id, JUDGED)))
        rendered = render(reports.report_data(connection, study_id))
        page = rendered.page.encode()
        _write_files(path.with_suffix(""), rendered.files)
        if reports.newest_report(connection, study_id) == page:
            run_logger().info("This very report is in the record already: nothing to do")
        else:
            reports.save_report(connection, study_id, str(path), page)
    path.write_bytes(page)
    return path


def _page(study: StudyRow) -> Path:
    """Where a study's page lies."""
    return home().ensure().reports / f"{file_name(study.name)}-{study.digest[:8]}.html"


@db_task("write card", "card of study {study_id}")
def write_card(study_id: int) -> Path:
    """Write a study's model card, as Markdown and JSON, beside its page; returns the Markdown file's path."""
    with make_engine().connect() as connection:
        card = content(reports.report_data(connection, study_id, CARD))
        folder = _page(study_row(connection, study_id)).with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("card.json", as_json(card)), ("card.md", markdown(card))):
        fresh = folder / f".{name}"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(folder / name)
    return folder / "card.md"


@retried
def find_studies(studies: tuple[str, ...], runs: tuple[int, ...]) -> tuple[int, ...]:
    """Ids of the studies, named by id or name; without names those that evaluated the runs."""
    with make_engine().connect() as connection:
        numbers = tuple(dict.fromkeys(find_study(connection, name) for name in studies))
        return numbers or tuple(studies_of_runs(connection, runs))


@db_task("render comparison")
def render_comparison(numbers: tuple[int, ...], runs: tuple[int, ...]) -> tuple[Path, int]:
    """Render one page over studies, or over runs of theirs, and keep it in the record; the file's path and its id."""
    engine = make_engine()
    with engine.connect() as connection:
        rendered = compare(tuple(reports.report_data(connection, number) for number in numbers), runs)
    stem = "-".join(["compare", *map(str, numbers), *(f"run{run}" for run in runs)])
    path = home().ensure().reports / f"{stem if len(stem) < 80 else f'compare-{digest(numbers, runs)[:12]}'}.html"
    _write_files(path.with_suffix(""), rendered.files)
    page = rendered.page.encode()
    path.write_bytes(page)
    with engine.begin() as connection:
        return path, reports.save_comparison(connection, str(path), page)


def _write_files(folder: Path, files: dict[str, str]) -> None:
    """Replace a folder by these files; a kill leaves the old one, none or the new one, never a mixture."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        fresh = Path(temporary) / "new"
        for name, text in files.items():
            place = fresh / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
