"""What Prefect's UI keeps of a flow run at its end: its result as a table, the study's answer, a link to the page.

Keys hold the study's number, so that the UI keeps one history per study.
"""

from typing import Any

import polars as pl
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.settings import get_current_settings

from db import reports
from db.engine import make_engine
from lesionlens.records import ReportData
from lesionlens.reporting.compare import told
from lesionlens.reporting.data import models, rows
from lesionlens.reporting.formatting import duration, number, plain, spoken
from lesionlens.reporting.tables.spec import Cell, Column
from lesionlens.reporting.verdict import answer, headline, score
from tasks.recorded import recorded

Lines = list[dict[str, Any]]
PATCHES = ("table_1_patches", "exclusion_reasons")
TRAINING = ("runs", "selected_runs", "epochs")
ANSWER = ("labels", "table_1_patches", "runs", "selected_runs", "run_scores", "comparison", "occlusion_test",
          "table_2_accuracy", "table_4_localization", "baseline_differences", "localization_scores")  # fmt: skip
QUESTION = "Does the classifier look at the lesion?"


@recorded("publish patches", "publish patches of study {study_id}")
def publish_patches(study_id: int) -> None:
    """Show how many patches each class and part has, and why lesions yielded none."""
    data = _read(study_id, PATCHES)
    counts = [
        {"class": row["label"], "training": row["train"], "validation": row["validation"], "test": row["test"]}
        for row in rows(data, "table_1_patches")
    ]
    reasons = [
        {"reason": plain(row["reason"], {}), "lesions": row["lesions"]} for row in rows(data, "exclusion_reasons")
    ]
    create_table_artifact(counts, f"study-{study_id}-patches", f"Patches of study {_name(data)}")
    if reasons:
        create_table_artifact(reasons, f"study-{study_id}-left-out", f"Lesions of study {_name(data)} without a patch")


@recorded("publish training", "publish training of study {study_id}")
def publish_training(study_id: int) -> None:
    """Show what became of every run of the grid."""
    data = _read(study_id, TRAINING)
    create_table_artifact(_training(data), f"study-{study_id}-training", f"Runs of study {_name(data)}, as trained")


@recorded("publish results", "publish results of study {study_id}")
def publish_results(study_id: int) -> str:
    """Show answer, scores of every run, and where the report is. Returns the answer in a sentence."""
    data = _read(study_id, ANSWER)
    found, name, page = answer(data), _name(data), _url(f"reports/{study_id}")
    text = f"## {found.verdict}\n\n{' '.join(found.sentences)}\n\n[The whole report]({page})"
    create_markdown_artifact(text, f"study-{study_id}-answer", f"{QUESTION} Study {name}")
    create_table_artifact(_results(data), f"study-{study_id}-table", f"Every run of study {name}, with intervals")
    create_link_artifact(page, f"Report of study {name}", f"study-{study_id}-report", f"The report of study {name}")
    return found.verdict


@recorded("publish comparison", "publish comparison {page}")
def publish_comparison(numbers: tuple[int, ...], runs: tuple[int, ...], page: int) -> None:
    """Show the verdict over these studies, the scores of their models, and where the page is."""
    studies = tuple(_read(number, ANSWER) for number in numbers)
    verdict, table = told(studies, runs)
    heads = [_in_a_line(column) for column in table.columns]
    lines = [dict(zip(heads, map(_in_a_line, row.cells), strict=True)) for row in table.rows]
    names, link = ", ".join(_name(data) for data in studies), _url(f"comparisons/{page}")
    answers = "\n\n".join(f"**{_name(data)}**: {answer(data).verdict}" for data in studies)
    text = f"## {verdict}\n\n{answers}\n\n[The whole comparison]({link})"
    create_markdown_artifact(text, f"comparison-{page}-answer", f"{QUESTION} {names}")
    create_table_artifact(lines, f"comparison-{page}-table", f"Models of {names}, with intervals")
    create_link_artifact(link, f"Comparison of {names}", f"comparison-{page}-page", f"The comparison of {names}")


def _read(study_id: int, frames: tuple[str, ...]) -> ReportData:
    with make_engine().connect() as connection:
        return reports.report_data(connection, study_id, frames)


def _name(data: ReportData) -> str:
    return str(data.study["name"])


def _in_a_line(cell: Cell | Column) -> str:
    return f"{cell.text} ({cell.small})" if cell.small else cell.text


def _url(page: str) -> str:
    """Where the server shows a page."""
    api = get_current_settings().api.url or ""
    return f"{api.removesuffix('/api')}/{page}"


def _training(data: ReportData) -> Lines:
    reasons = {row["run_id"]: row["reason"] for row in rows(data, "runs")}
    epochs = data.frames["epochs"]
    lines = []
    for model in models(data):
        own = epochs.filter(pl.col("run_id") == model.run_id)
        best = own.sort("validation_loss", "epoch").head(1).to_dicts()
        lines.append(
            {
                "model": model.full,
                "state": model.status,
                "epochs": own.height,
                "lowest validation loss": number(best[0]["validation_loss"], 3) if best else "",
                "validation accuracy there": number(best[0]["validation_accuracy"]) if best else "",
                "training time": duration(float(own["seconds"].sum())),
                "reason": reasons[model.run_id] or "",
            }
        )
    return lines


def _results(data: ReportData) -> Lines:
    lines = []
    for model in models(data):
        accuracy = next(iter(rows(data, "table_2_accuracy", run_id=model.run_id)), None)
        own = headline(data, model)
        lines.append(
            {
                "model": model.full,
                "state": model.status,
                "accuracy": spoken(accuracy["accuracy"], accuracy["low"], accuracy["high"]) if accuracy else "",
                "overlap with the lesion (mean IoU)": score(own).spoken if own else "",
                "lesions": score(own).n if own else "",
            }
        )
    return lines
