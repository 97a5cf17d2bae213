"""The whole study: prepare, train, evaluate, report; and its presets, with the options that people change."""

from pathlib import Path
from typing import Annotated, Literal

from prefect import flow, get_run_logger
from pydantic import Field

from flows import steps
from flows.logs import shorten_errors
from lesionlens import presets
from lesionlens.config import (
    Backbone,
    EvaluationConfig,
    GridConfig,
    Method,
    Strategy,
    StudyConfig,
    TrainingConfig,
)
from lesionlens.errors import TrainingError
from tasks.grid import failed_runs
from tasks.progress import confirm_cancellation

GRID, EVALUATION = GridConfig(), EvaluationConfig()
Name = Annotated[str, Field(min_length=1, max_length=80)]


@flow(name="study", flow_run_name="study {config.name}", on_cancellation=[confirm_cancellation])
def study(config: StudyConfig) -> Path:
    """Run a study with every option open; returns where its report lies."""
    return _run(config)


@flow(name="study-demo", flow_run_name="study demo", on_cancellation=[confirm_cancellation])
def study_demo() -> Path:
    """The whole study on synthetic mammograms, in minutes."""
    return _run(presets.demo())


@flow(name="study-paper", flow_run_name="study paper", on_cancellation=[confirm_cancellation])
def study_paper(
    data: Path,
    seeds: tuple[int, ...] = GRID.seeds,
) -> Path:
    """What the published study did, as literally as can be established.

    Args:
        data: Folder of CBIS-DDSM
        seeds: Each repeats the grid with its own weights and order of samples
    """
    return _run(presets.paper(data).model_copy(update={"grid": GridConfig(seeds=seeds)}))


@flow(name="study-sound", flow_run_name="study {name}", on_cancellation=[confirm_cancellation])
def study_sound(
    data: Path,
    name: Name = "sound",
    weights: Literal["imagenet", "none"] = "imagenet",
    backbones: tuple[Backbone, ...] = GRID.backbones,
    strategies: tuple[Strategy, ...] = GRID.strategies,
    seeds: tuple[int, ...] = GRID.seeds,
    methods: tuple[Method, ...] = EVALUATION.methods,
) -> Path:
    """The same question with patients kept apart, statistics of the training split, and tuned thresholds.

    Args:
        data: Folder of CBIS-DDSM, or of a manifest.csv (docs/data.md)
        name: Shown in the report
        weights: First weights, of ImageNet or random
        backbones: Networks to train
        strategies: gradual: the head first, then block after block; simultaneous: all that trains at once
        seeds: Each repeats the grid with its own weights and order of samples
        methods: How activation maps are made
    """
    changes = {
        "name": name,
        "training": TrainingConfig(weights=weights),
        "grid": GridConfig(backbones=backbones, strategies=strategies, seeds=seeds),
        "evaluation": EvaluationConfig(methods=methods),
    }
    return _run(presets.sound(data).model_copy(update=changes))


def _run(config: StudyConfig) -> Path:
    """From the data to the report; what the record holds already is not done again.

    Steps are plain calls here, so that one flow run holds the tasks and results of the whole study. Runs that failed
    are in the record and in the report with their reasons; TrainingError, at the end, where every run failed.
    """
    shorten_errors()
    study_id = steps.prepare.fn(config)
    steps.train.fn(study_id)
    steps.evaluate.fn(study_id)
    page = steps.report.fn(study_id)
    failed, planned = len(failed_runs(study_id)), len(config.grid.runs())
    if failed == planned:
        raise TrainingError(
            f"No run of study {config.name} succeeded: {failed} of {planned} failed. The report says why: {page}"
        )
    if failed:
        get_run_logger().warning("%d of %d runs failed; the report names them and says why", failed, planned)
    return page
