"""Every finished run of a study, scored and explained sample by sample."""

from prefect import flow, get_run_logger

from tasks.evaluate import compare_runs, evaluate_run
from tasks.study import study_config, unevaluated_runs


@flow(name="evaluate", flow_run_name="evaluate study {study_id}")
def evaluate(study_id: int) -> int:
    """Evaluate what the record says is missing, then compare the runs. Returns how many were evaluated."""
    config = study_config(study_id)
    runs = unevaluated_runs(study_id)
    if not runs:
        get_run_logger().info("All finished runs of study %s are evaluated: nothing to do", study_id)
        return 0
    for run_id, title in runs:
        evaluate_run(run_id, title, config)
    compare_runs(study_id, config)
    return len(runs)
