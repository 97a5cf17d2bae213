"""Every run of a study's grid, trained to its best validation loss."""

from prefect import flow, get_run_logger

from lesionlens.config import ExecutionConfig
from tasks.progress import stage
from tasks.study import unfinished_runs
from tasks.train import train_run


@flow(name="train", flow_run_name="train study {study_id}")
def train(study_id: int, execution: ExecutionConfig | None = None) -> int:
    """Train what the record says is missing. Returns how many runs failed."""
    log = get_run_logger()
    runs = unfinished_runs(study_id)
    if not runs:
        log.info("All runs of study %s are trained: nothing to do", study_id)
    finished = []
    with stage(f"train the grid of study {study_id}", unit="runs", total=len(runs)) as advance:
        for run_id, title in runs:
            finished.append(train_run(run_id, title, execution or ExecutionConfig()))
            advance(len(finished), len(runs))
    return finished.count(False)
