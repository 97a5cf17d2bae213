"""Every run of a study's grid, trained to its best validation loss."""

from prefect import flow, get_run_logger

from flows.work import complete
from lesionlens.config import ExecutionConfig
from tasks.cancellation import confirm
from tasks.publish import publish_training
from tasks.study import failed_runs, study_config

BY_DEFAULT = ExecutionConfig()


@flow(name="train", flow_run_name="train study {study_id}", on_cancellation=[confirm])
def train(study_id: int, execution: ExecutionConfig = BY_DEFAULT) -> int:
    """Train what the record says is missing. Returns how many runs of the study are failed."""
    config = study_config(study_id)
    complete("train", study_id, config, execution)
    failed = failed_runs(study_id)
    for title, reason in failed:
        get_run_logger().warning("%s failed: %s", title, reason)
    publish_training(study_id)
    return len(failed)
