"""Data set -> patches in the record -> a study with its runs planned."""

from prefect import flow

from lesionlens.config import StudyConfig
from tasks.prepare import locate_data, plan_study, prepare_patches
from tasks.publish import publish_patches


@flow(name="prepare", flow_run_name="prepare {config.name}")
def prepare(config: StudyConfig) -> int:
    """Index the data set, cut, split and check patches, plan the grid. Returns the study id."""
    config, root = locate_data(config)
    sample_set_id = prepare_patches(config, root)
    study_id = plan_study(config, sample_set_id)
    publish_patches(study_id)
    return study_id
