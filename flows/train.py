"""Every run of a study's grid, trained to its best validation loss."""

from prefect import flow, get_run_logger

from lesionlens.config import ExecutionConfig
from tasks.study import unfinished_runs
from tasks.train import train_run


@flow(name="train", flow_run_name="train study {study_id}")
def train(study_id: int, execution: ExecutionConfig | None = None) -> int:
    """Train what the record says is missing. Returns how many runs failed."""
    log = get_run_logger()
    runs = unfinished_runs(study_id)
    if not runs:
        log.info("All runs of study %s are trained: nothing to do", study_id)
    finished = [train_run(run_id, title, execution or ExecutionConfig()) for run_id, title in runs]
    return finished.count(False)
