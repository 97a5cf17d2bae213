"""External: a finished run evaluated on another data set, with thresholds, statistics and classes of its own study."""

from pathlib import Path

import numpy as np
import polars as pl
from prefect import get_run_logger

from db import datasets, evaluations, studies
from db.engine import make_engine
from db.locks import lease
from db.queries import arrays
from lesionlens.config.data import DataConfig, SplitConfig
from lesionlens.config.study import evaluation_digest
from lesionlens.datasets.registry import read_index
from lesionlens.identity import digest
from lesionlens.samples.external import all_test, carried_over, overlap, require_known
from lesionlens.scoring.comparison.sets import between_sets
from tasks.db_task import db_task, samples_of, study_config
from tasks.evaluate import evaluated, lock_name
from tasks.prepare import enter_samples


@db_task("find the study", "find the study of run {run_id}")
def study_of(run_id: int) -> int:
    """The newest study that evaluated the run. ValueError where none did."""
    with make_engine().connect() as connection:
        return studies.studies_of_runs(connection, [run_id])[-1]


@db_task("prepare other data", "prepare {data}")
def prepare_external(study_id: int, data: Path) -> int:
    """Cut samples from all of another data set as the study does from its test split; returns the sample set's id.

    The study's own data set keeps its samples and splits. ValueError for a class that the study does not know.
    """
    config, data = study_config(study_id), data.expanduser().resolve()
    if config.unit != "patch":
        raise ValueError(f"study {study_id} is of whole films: other data can be given to studies of patches alone")
    index = read_index(DataConfig(root=data), data)
    with make_engine().connect() as connection:
        own = studies.study_row(connection, study_id).sample_set_id
        if datasets.dataset_digest(connection, own) == index.digest:
            return own
        windows = arrays.sample_attributes(connection, own).select("window_width", "window_height")
    samples = samples_of(own)
    missing = require_known(index, samples.classes)
    if missing:
        get_run_logger().warning("%s has nothing of class %s", index.name, ", ".join(missing))
    seen = windows.filter(pl.Series(samples.has_mask & (samples.splits != "test"))).rows()
    carried = [(int(width), int(height)) for width, height in seen]
    nothing = {"train": 0}  # no background is wanted for training
    config = config.model_copy(
        update={
            "split": SplitConfig(rule="official"),
            "background": config.background.model_copy(update=nothing),
        }
    )
    choices = config.annotation, config.patches, config.background
    identity = digest("external", index.digest, *choices, config.seed, carried)
    return enter_samples(config, data, index, identity, all_test(index), carried)


@db_task("evaluate on other data", "evaluate run {run_id} on sample set {sample_set_id}")
def evaluate_external(study_id: int, run_id: int, sample_set_id: int) -> int:
    """Predict, explain, score and audit the other samples; returns the evaluation's id, the same where it is known.

    Samples of patients with an image that the run was trained or tuned on are left out and counted.
    """
    config, engine = study_config(study_id), make_engine()
    with lease(engine, lock_name(run_id)) as claim:
        with engine.connect() as connection:
            row = studies.study_row(connection, study_id)
            own = row.sample_set_id
            other_digest = datasets.sample_set_digest(connection, sample_set_id)
            identity = digest("external", evaluation_digest(config), other_digest)
            known = evaluations.find_evaluation(connection, run_id, identity)
            internal = evaluations.find_evaluation(connection, run_id, row.evaluation_digest)
            if known is not None:
                get_run_logger().info("Run %d is evaluated on these data already: nothing to do", run_id)
                return known
            if internal is None:
                raise ValueError(f"run {run_id} is not evaluated in study {study_id}: finish the study first")
            found = overlap(evaluations.shared_images(connection, own, sample_set_id))
            sets = list(dict.fromkeys((own, sample_set_id)))
            both = [arrays.sample_attributes(connection, number) for number in sets]
        mine, others = samples_of(own), samples_of(sample_set_id)
        samples = carried_over(mine, others, found)
        title = f"run {run_id} on other data"
        attributes = pl.concat(both, how="vertical_relaxed")
        result, seconds = evaluated(engine, config, run_id, title, samples, attributes, sets)
        tested = set(samples.split("test").labels.tolist())
        claim.check()
        with engine.begin() as connection:
            entered = evaluations.save_evaluation(connection, run_id, identity, config.evaluation, seconds, result)
            values: dict[str, int | bool | list[str]] = {
                "internal_id": internal,
                "sample_set_id": sample_set_id,
                "is_external": not found.pictures,
                "left_out": int(np.isin(others.patients, found.patients).sum()),
                "shared_images": list(found.pictures),
                "shared_patients": list(found.patients),
                "missing_classes": [code for k, code in enumerate(samples.classes) if k not in tested],
            }
            before, after = (evaluations.scored_samples(connection, number) for number in (internal, entered))
            scored = between_sets(before, after, mine.classes, config.evaluation, config.seed)
            evaluations.save_external(connection, entered, values, scored)
    return entered
