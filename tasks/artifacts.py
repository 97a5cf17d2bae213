"""What Prefect's UI shows of a study: bars that move while it works, the answer and its numbers at the end."""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext, TaskRunContext
from prefect.settings import get_current_settings

from lesionlens.records import ReportData
from lesionlens.reporting.answer import answer
from lesionlens.reporting.localization import headline, score
from lesionlens.reporting.models import models, rows
from lesionlens.reporting.wording import spoken

MOVE_SECONDS = 2.0
State = Callable[[], tuple[float | None, str]]
"""Per cent done (None while unknown) and a line that says it."""


@contextmanager
def moving(state: State) -> Iterator[None]:
    """A progress artifact of the current task or flow run for the time of the block; nothing outside of runs.

    A thread of its own talks to the server: one that is slow or gone never holds up the work.
    """
    ids = _current()
    if ids is None:
        yield
        return
    over = threading.Event()
    context = contextvars.copy_context()  # the server's address travels in it
    thread = threading.Thread(target=context.run, args=(_move, state, ids, over), name="progress artifact", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(MOVE_SECONDS)


def _current() -> dict[str, UUID | None] | None:
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is not None:
        return {"flow_run_id": task.task_run.flow_run_id, "task_run_id": task.task_run.id}
    if flow is not None and flow.flow_run is not None:
        return {"flow_run_id": flow.flow_run.id, "task_run_id": None}
    return None


def _move(state: State, ids: dict[str, UUID | None], over: threading.Event) -> None:
    artifact, shown, ending = None, None, False
    while not ending:
        ending = over.wait(MOVE_SECONDS)
        percent, line = state()
        if percent is None or (percent, line) == shown:
            continue
        with contextlib.suppress(Exception), get_client(sync_client=True) as client:
            if artifact is None:
                new: dict[str, Any] = {"type": "progress", "data": percent, "description": line}
                artifact = client.create_artifact(ArtifactCreate(**new, **ids)).id
            else:
                client.update_artifact(artifact, ArtifactUpdate(data=percent, description=line))
            shown = (percent, line)


def publish(study_id: int, data: ReportData) -> None:
    """The study's answer, its table and a link to its report, as artifacts of the current run.

    Their keys hold the study's number, so that the UI keeps one history per study.
    """
    found = answer(data)
    name = str(data.study["name"])
    text = f"## {found.verdict}\n\n{' '.join(found.sentences)}\n\n[The whole report]({report_url(study_id)})"
    create_markdown_artifact(text, f"study-{study_id}-answer", f"Does the classifier look at the lesion? Study {name}")
    create_table_artifact(_table(data), f"study-{study_id}-table", f"Every run of study {name}, with intervals")
    link = f"study-{study_id}-report"
    create_link_artifact(report_url(study_id), f"Report of study {name}", link, f"The report of study {name}")


def report_url(study_id: int) -> str:
    """Where the server shows a study's report."""
    api = get_current_settings().api.url or ""
    return f"{api.removesuffix('/api')}/reports/{study_id}"


def _table(data: ReportData) -> list[dict[str, Any]]:
    table = []
    for model in models(data):
        accuracy = next(iter(rows(data, "table_2_accuracy", run_id=model.run_id)), None)
        own = headline(data, model)
        table.append(
            {
                "model": model.title,
                "state": model.status,
                "accuracy": spoken(accuracy["accuracy"], accuracy["low"], accuracy["high"]) if accuracy else "",
                "overlap with the lesion (mean IoU)": score(own).spoken if own else "",
                "lesions": score(own).n if own else "",
            }
        )
    return table
