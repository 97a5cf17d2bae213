"""What Prefect's UI keeps of a flow run at its end: its result as a table; of a report its answer, scores and link.

Keys hold the study's id, so that the UI keeps one history per study.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import polars as pl
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import TaskRunContext
from prefect.settings import get_current_settings

from db import reports
from db.bulk import frame
from db.engine import make_engine
from lesionlens.records import ReportData
from lesionlens.reporting.answer import sentences, verdict
from lesionlens.reporting.compare import summary
from lesionlens.reporting.data import headline, models, rows, score
from lesionlens.reporting.formatting import duration, number, term, with_interval
from tasks.db_task import retried

SAMPLES = ("table_1_patches", "exclusion_reasons")
TRAINING = ("runs", "selected_runs", "epochs")
ANSWER = ("answers", "labels", "table_1_patches", "runs", "selected_runs", "comparison", "occlusion_test",
          "table_2_accuracy", "table_4_localization", "baseline_differences", "localization_scores",
          "decisions")  # fmt: skip
EPOCHS = """
SELECT epoch, phase, train_loss, validation_loss, validation_accuracy, validation_froc, seconds FROM epoch
WHERE run_id = %(run_id)s ORDER BY epoch DESC"""
QUESTION = "Does the classifier look at the lesion?"


def show_samples(study_id: int) -> None:
    """How many samples each class and split has, and why lesions yielded none."""
    data = _read(study_id, SAMPLES)
    counts = [
        {"class": row["label"], "training": row["train"], "validation": row["validation"], "test": row["test"]}
        for row in rows(data, "table_1_patches")
    ]
    reasons = [
        {"reason": term(row["reason"], {}), "lesions": row["lesions"], "images": row["images"]}
        for row in rows(data, "exclusion_reasons")
    ]
    create_table_artifact(counts, f"study-{study_id}-samples", f"Samples of study {_name(data)}")
    if reasons:
        create_table_artifact(reasons, f"study-{study_id}-left-out", f"Lesions of study {_name(data)} without a sample")


def show_training(study_id: int) -> None:
    """What became of every run of the grid."""
    data = _read(study_id, TRAINING)
    reasons = {row["run_id"]: row["reason"] for row in rows(data, "runs")}
    evaluated = {row["run_id"]: row["best_epoch"] for row in rows(data, "runs")}
    lines = []
    for model in models(data):
        epochs = data.frames["epochs"].filter(pl.col("run_id") == model.run_id)
        best = next(iter(epochs.filter(epoch=evaluated[model.run_id]).to_dicts()), None)
        lines.append(
            {
                "model": model.full,
                "state": model.status,
                "epochs": epochs.height,
                "epoch evaluated": str(best["epoch"]) if best else "",
                "validation loss there": number(best["validation_loss"], 3) if best else "",
                "validation accuracy or FROC there": ", ".join(_judged(best).values()) if best else "",
                "training time": duration(float(epochs["seconds"].sum())),
                "reason": reasons[model.run_id] or "",
            }
        )
    create_table_artifact(lines, f"study-{study_id}-training", f"Runs of study {_name(data)}, as trained")


def _judged(epoch: Mapping[str, Any]) -> dict[str, str]:
    """What an epoch is worth on the validation split: accuracy, or a detector's mean sensitivity."""
    if epoch["validation_froc"] is not None:
        return {"validation FROC": number(epoch["validation_froc"])}
    return {"validation accuracy": number(epoch["validation_accuracy"])}


def show_epochs(run_id: int, title: str, most: int | None) -> None:
    """Loss and accuracy of every epoch of a run that is being trained, and the time that it may take yet.

    Of what the record holds; most: epochs that the run may have, None once it is finished. What fails, for example
    without a server, changes nothing: training needs none of it.
    """
    if TaskRunContext.get() is None:
        return
    with suppress(Exception), make_engine().connect() as connection:
        found = frame(connection, EPOCHS, run_id=run_id).to_dicts()
        spent = sum(row["seconds"] for row in found)
        lines = [
            {
                "epoch": row["epoch"],
                "phase": row["phase"],
                "training loss": number(row["train_loss"], 3),
                "validation loss": number(row["validation_loss"], 3),
                **_judged(row),
                "time": duration(row["seconds"]),
            }
            for row in found
        ]
        state = f"Finished in {duration(spent)}"
        if most is not None:
            state = f"At most {duration(spent / len(found) * max(most - found[0]['epoch'], 0))} left"
        create_table_artifact(lines, f"run-{run_id}-epochs", f"{state}: {title}, newest epoch first")


def show_results(study_id: int) -> str:
    """Answer, scores of every run, and where the report is; returns the answer in a sentence."""
    data = _read(study_id, ANSWER)
    found, name, page = verdict(data), _name(data), f"/reports/{study_id}"
    lines = []
    for model in models(data):
        accuracy = next(iter(rows(data, "table_2_accuracy", run_id=model.run_id)), None)
        own = headline(data, model)
        lines.append(
            {
                "model": model.full,
                "state": model.status,
                "accuracy": with_interval(accuracy["accuracy"], accuracy["low"], accuracy["high"]) if accuracy else "",
                "overlap with the lesion (mean IoU)": score(own).text if own else "",
                "lesions": score(own).n if own else "",
            }
        )
    reasons = "\n\n".join(row["sentence"] for row in rows(data, "answers"))
    text = [f"## {found}", f"[The whole report]({page})", reasons, " ".join(sentences(data)), _markdown(lines)]
    create_markdown_artifact("\n\n".join(text), f"study-{study_id}-report", f"{QUESTION} Study {name}")
    return found


def show_comparison(study_ids: tuple[int, ...], runs: tuple[int, ...], page_id: int) -> None:
    """The verdict over these studies, the scores of their models, and where the page is."""
    studies = tuple(_read(study_id, (*ANSWER, "sample_results")) for study_id in study_ids)
    found, table = summary(studies, runs)
    names, link = ", ".join(_name(data) for data in studies), f"/comparisons/{page_id}"
    answers = "\n\n".join(f"**{_name(data)}**: {verdict(data)}" for data in studies)
    text = [f"## {found}", f"[The whole comparison]({link})", answers, _markdown(table.texts())]
    create_markdown_artifact("\n\n".join(text), f"comparison-{page_id}-page", f"{QUESTION} {names}")


def _markdown(lines: Sequence[Mapping[str, object]]) -> str:
    """A table in Markdown; empty without lines."""
    if not lines:
        return ""
    table: list[list[object]] = [list(lines[0]), *(list(line.values()) for line in lines)]
    first, *others = [[str(cell).replace("|", r"\|") for cell in row] for row in table]
    return "\n".join(f"| {' | '.join(row)} |" for row in (first, ["---"] * len(first), *others))


def show_card(study_id: int, text: str) -> None:
    """The model card of a study, Markdown."""
    create_markdown_artifact(
        text, f"study-{study_id}-card", f"Model card of study {_name(_read(study_id, ('labels',)))}"
    )


@retried
def _read(study_id: int, frames: tuple[str, ...]) -> ReportData:
    with make_engine().connect() as connection:
        return reports.report_data(connection, study_id, frames)


def _name(data: ReportData) -> str:
    return str(data.study["name"])


def url(page: str) -> str:
    """Where the server shows a page."""
    api = get_current_settings().api.url or ""
    return f"{api.removesuffix('/api')}/{page}"
