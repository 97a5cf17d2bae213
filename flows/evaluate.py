"""Every finished run of a study, scored, explained and audited sample by sample."""

from prefect import flow

from flows.work import complete
from lesionlens.config import ExecutionConfig
from tasks.cancellation import confirm
from tasks.evaluate import audit_shortcuts, compare_runs, plan_evaluations
from tasks.publish import publish_results
from tasks.study import is_compared, study_config

BY_DEFAULT = ExecutionConfig()


@flow(name="evaluate", flow_run_name="evaluate study {study_id}", on_cancellation=[confirm])
def evaluate(study_id: int, execution: ExecutionConfig = BY_DEFAULT) -> int:
    """Audit the sample set, evaluate what the record lacks, compare the runs. Returns how many were missing."""
    config = study_config(study_id)
    plan_evaluations(study_id, config)
    audit_shortcuts(study_id, config)
    missing = complete("evaluate", study_id, config, execution)
    if missing or not is_compared(study_id):
        compare_runs(study_id, config)
    publish_results(study_id)
    return missing
