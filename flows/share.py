"""One machine's share of a study's runs: whichever of them nobody else has in hand, until none is left."""

from datetime import datetime

from prefect import flow

from flows.work import take_what_is_free
from lesionlens.config import ExecutionConfig
from tasks.study import Stage, missing_runs, study_config


@flow(name="share", flow_run_name="{stage} study {study_id} with others")
def share(stage: Stage, study_id: int, execution: ExecutionConfig, since: datetime) -> None:
    """Train or evaluate what is free. Started by a study whose `execution.runner` is workers, not by people."""
    config = study_config(study_id)
    runs = missing_runs(stage, study_id, config, since)
    take_what_is_free(stage, study_id, config, execution, since, runs)
