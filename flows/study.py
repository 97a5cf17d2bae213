"""The whole study: prepare, train, evaluate, report."""

from pathlib import Path

from prefect import flow, get_run_logger

from flows.evaluate import evaluate
from flows.prepare import prepare
from flows.report import report
from flows.train import train
from lesionlens.config import StudyConfig
from lesionlens.training.errors import TrainingError
from tasks.publish import publish_results


@flow(name="study", flow_run_name="study {config.name}")
def study(config: StudyConfig) -> Path:
    """Run a study from its data to its report; what the record holds already is not done again.

    Returns where the report lies. Runs that failed are in the record and in the report with their reasons.
    TrainingError, at the end, where every run failed.
    """
    study_id = prepare(config)
    failed = train(study_id, config.execution)
    evaluate(study_id, config.execution)
    page = report(study_id)
    logger = get_run_logger()
    logger.info("%s The report: %s", publish_results(study_id), page)
    if failed == len(config.grid.runs()):
        raise TrainingError(f"All {failed} runs of study {config.name} failed. The report says why: {page}")
    if failed:
        logger.warning("%d runs failed; the report names them and says why", failed)
    return page
