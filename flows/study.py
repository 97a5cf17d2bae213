"""The whole study: prepare, train, evaluate, report; and its presets, with the options that people change."""

from pathlib import Path
from typing import Annotated, Literal

from prefect import flow, get_run_logger
from pydantic import Field

from flows import steps
from lesionlens import presets
from lesionlens.config import (
    Backbone,
    EvaluationConfig,
    ExecutionConfig,
    GridConfig,
    Method,
    Strategy,
    StudyConfig,
    TrainingConfig,
)
from lesionlens.errors import TrainingError
from tasks.grid import failed_runs
from tasks.progress import confirm_cancellation

Data = Annotated[Path, Field(description="Folder of CBIS-DDSM, or of a manifest.csv")]
Name = Annotated[str, Field(min_length=1, max_length=80, description="Shown in the report")]
Weights = Annotated[Literal["imagenet", "none"], Field(description="First weights: of ImageNet, or random")]
Backbones = Annotated[tuple[Backbone, ...], Field(min_length=1, description="Networks to train")]
Strategies = Annotated[
    tuple[Strategy, ...], Field(min_length=1, description="gradual: block after block; simultaneous: all at once")
]
Seeds = Annotated[tuple[int, ...], Field(min_length=1, description="Each repeats the whole grid")]
Methods = Annotated[tuple[Method, ...], Field(min_length=1, description="How activation maps are made")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field(description="Where networks run; auto takes a GPU if there")]
AtOnce = Annotated[int, Field(ge=1, le=64, description="Runs trained or evaluated at once on one device")]
GRID, EVALUATION, EXECUTION = GridConfig(), EvaluationConfig(), ExecutionConfig()


@flow(name="study", flow_run_name="study {config.name}", on_cancellation=[confirm_cancellation])
def study(config: StudyConfig) -> Path:
    """Run a study with every option open; returns where its report lies."""
    return _run(config)


@flow(name="study-demo", flow_run_name="study demo", on_cancellation=[confirm_cancellation])
def study_demo() -> Path:
    """The whole study on synthetic mammograms, in minutes."""
    return _run(presets.demo())


@flow(name="study-paper", flow_run_name="study {name}", on_cancellation=[confirm_cancellation])
def study_paper(
    data: Data,
    name: Name = "paper",
    backbones: Backbones = GRID.backbones,
    strategies: Strategies = GRID.strategies,
    seeds: Seeds = GRID.seeds,
    device: Device = EXECUTION.device,
    runs_per_device: AtOnce = EXECUTION.runs_per_device,
) -> Path:
    """What the published study did, as literally as can be established."""
    changes = {
        "name": name,
        "grid": GridConfig(backbones=backbones, strategies=strategies, seeds=seeds),
        "execution": ExecutionConfig(device=device, runs_per_device=runs_per_device),
    }
    return _run(presets.paper(data).model_copy(update=changes))


@flow(name="study-sound", flow_run_name="study {name}", on_cancellation=[confirm_cancellation])
def study_sound(
    data: Data,
    name: Name = "sound",
    weights: Weights = "imagenet",
    backbones: Backbones = GRID.backbones,
    strategies: Strategies = GRID.strategies,
    seeds: Seeds = GRID.seeds,
    methods: Methods = EVALUATION.methods,
    device: Device = EXECUTION.device,
    runs_per_device: AtOnce = EXECUTION.runs_per_device,
) -> Path:
    """The same question with patients kept apart, statistics of the training split, and tuned thresholds."""
    changes = {
        "name": name,
        "training": TrainingConfig(weights=weights),
        "grid": GridConfig(backbones=backbones, strategies=strategies, seeds=seeds),
        "evaluation": EvaluationConfig(methods=methods),
        "execution": ExecutionConfig(device=device, runs_per_device=runs_per_device),
    }
    return _run(presets.sound(data).model_copy(update=changes))


def _run(config: StudyConfig) -> Path:
    """From the data to the report; what the record holds already is not done again.

    Steps are plain calls here, so that one flow run holds the tasks and results of the whole study. Runs that failed
    are in the record and in the report with their reasons; TrainingError, at the end, where every run failed.
    """
    study_id = steps.prepare.fn(config)
    steps.train.fn(study_id, config.execution)
    steps.evaluate.fn(study_id, config.execution)
    page = steps.report.fn(study_id)
    failed, planned = len(failed_runs(study_id)), len(config.grid.runs())
    if failed == planned:
        raise TrainingError(
            f"No run of study {config.name} succeeded: {failed} of {planned} failed. The report says why: {page}"
        )
    if failed:
        get_run_logger().warning("%d of %d runs failed; the report names them and says why", failed, planned)
    return page
