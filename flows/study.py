"""The whole study: prepare, train, evaluate, report."""

from pathlib import Path

from prefect import flow, get_run_logger

from flows.evaluate import evaluate
from flows.prepare import prepare
from flows.report import report
from flows.train import train
from lesionlens.config import StudyConfig
from lesionlens.errors import TrainingError
from tasks.cancellation import confirm
from tasks.publish import publish_results
from tasks.study import failed_runs


@flow(name="study", flow_run_name="study {config.name}", on_cancellation=[confirm])
def study(config: StudyConfig) -> Path:
    """Run a study from its data to its report; what the record holds already is not done again.

    Returns where the report lies. Runs that failed are in the record and in the report with their reasons.
    TrainingError, at the end, where every run failed.
    """
    study_id = prepare(config)
    train(study_id, config.execution)
    evaluate(study_id, config.execution)
    failed, planned = len(failed_runs(study_id)), len(config.grid.runs())
    page = report(study_id)
    logger = get_run_logger()
    logger.info("%s The report: %s", publish_results(study_id), page)
    if failed == planned:
        raise TrainingError(
            f"No run of study {config.name} succeeded: {failed} of {planned} failed. The report says why: {page}"
        )
    if failed:
        logger.warning("%d of %d runs failed; the report names them and says why", failed, planned)
    return page
