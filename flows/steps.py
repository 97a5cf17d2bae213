"""The steps of a study, each a flow of its own; after `prepare` only the study's id travels."""

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.logs import shorten_errors
from flows.names import is_made_up, named
from lesionlens.config.study import StudyConfig
from tasks import artifacts, external, grid
from tasks.evaluate import audit_shortcuts, compare_runs, is_compared, plan_evaluations
from tasks.prepare import prepare_study
from tasks.progress import confirm_cancellation
from tasks.report import find_studies, render_comparison, render_report, write_card


@flow(name="prepare", flow_run_name=named("prepare {config.name}"))
def prepare(config: StudyConfig) -> int:
    """Index the data set, cut, split and check samples, plan the grid. Returns the study's id."""
    shorten_errors()
    study_id = prepare_study(config)
    artifacts.show_samples(study_id)
    return study_id


@flow(name="train", flow_run_name=named("train study {study_id}"), on_cancellation=[confirm_cancellation])
def train(study_id: int) -> int:
    """Train every run of the grid that the record lacks, to its best validation loss. Returns how many failed.

    TrainingError where every run failed.
    """
    shorten_errors()
    train_grid(study_id)
    return grid.refuse_total_failure(study_id)


def train_grid(study_id: int) -> None:
    """The train step of a study."""
    grid.complete("train", study_id)
    artifacts.show_training(study_id)


@flow(name="evaluate", flow_run_name=named("evaluate study {study_id}"), on_cancellation=[confirm_cancellation])
def evaluate(study_id: int) -> int:
    """Score, explain and audit every trained run sample by sample, compare the runs. Returns how many were missing.

    TrainingError where every run failed.
    """
    shorten_errors()
    missing = evaluate_grid(study_id)
    grid.refuse_total_failure(study_id)
    return missing


def evaluate_grid(study_id: int) -> int:
    """The evaluate step of a study; returns how many evaluations were missing."""
    plan_evaluations(study_id)
    audit_shortcuts(study_id)
    missing = grid.complete("evaluate", study_id)
    if missing or not is_compared(study_id):
        compare_runs(study_id)
    return missing


@flow(
    name="evaluate-external",
    flow_run_name=named("evaluate run {run} on {data}"),
    on_cancellation=[confirm_cancellation],
)
def evaluate_external(run: int, data: Path) -> Path:
    """Evaluate a finished run on another data set and show both beside each other. Returns where the report lies.

    Args:
        run: Number of the run (TABLE runs)
        data: Folder of the other data set, of any layout in docs/data.md; all of it is test
    """
    shorten_errors()
    study_id = external.study_of(run)
    sample_set_id = external.prepare_external(study_id, data)
    external.evaluate_external(study_id, run, sample_set_id)
    return report.fn(study_id)


@flow(name="report", flow_run_name=named("report on study {study_id}"))
def report(study_id: int) -> Path:
    """Render the page that answers the study's question, and show the answer. Returns where the page lies."""
    shorten_errors()
    page = render_report(study_id)
    found = artifacts.show_results(study_id)
    address, every = artifacts.url(f"reports/{study_id}"), artifacts.url("reports")
    get_run_logger().info("%s The report: %s, while served %s; all reports: %s", found, page, address, every)
    return page


def _comparison_name() -> str:
    if flow_run.name and not is_made_up(flow_run.name):
        return str(flow_run.name)
    parameters = flow_run.parameters
    runs = [f"run {run}" for run in parameters.get("runs") or ()]
    return f"compare {', '.join([*map(str, parameters.get('studies') or ()), *runs])}"


@flow(name="compare", flow_run_name=_comparison_name)
def compare(studies: tuple[str, ...] = (), runs: tuple[int, ...] = ()) -> Path:
    """Render studies, or runs of any studies, side by side, and show the verdict. Returns where the page lies.

    Args:
        studies: Studies by id or name; empty for those of the runs
        runs: Show only these runs; empty for each study's selected ones
    """
    shorten_errors()
    study_ids = find_studies(studies, runs)
    page, page_id = render_comparison(study_ids, runs)
    artifacts.show_comparison(study_ids, runs, page_id)
    return page


@flow(name="card", flow_run_name=named("card of study {study}"))
def card(study: str) -> Path:
    """Write a study's model card, with the checklist of what is recorded, beside its report. Returns where it lies.

    Args:
        study: A study by id or name
    """
    shorten_errors()
    (study_id,) = find_studies((study,), ())
    path = write_card(study_id)
    artifacts.show_card(study_id, path.read_text(encoding="utf-8"))
    get_run_logger().info("The model card: %s", path)
    return path
