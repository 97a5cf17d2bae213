"""Data set -> patches in the record -> a study with its runs planned."""

from prefect import flow

from lesionlens.config import StudyConfig
from tasks.prepare import locate_data, plan_study, prepare_patches


@flow(name="prepare", flow_run_name="prepare {config.name}")
def prepare(config: StudyConfig) -> int:
    """Index the data set, cut, split and check patches, plan the grid. Returns the study id."""
    config, root = locate_data(config)
    patch_set_id = prepare_patches(config, root)
    return plan_study(config, patch_set_id)
