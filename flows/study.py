"""The whole study: prepare, train, evaluate, report; and its presets, with the options that people change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow, get_run_logger
from prefect.variables import Variable
from pydantic import Field

from flows import steps
from flows.logs import shorten_errors
from flows.names import named
from lesionlens.config import presets
from lesionlens.config.evaluation import EvaluationConfig, Methods
from lesionlens.config.study import StudyConfig, StudyName, started_by
from lesionlens.config.training import Backbone, GridConfig, Strategy
from lesionlens.identity import digest, folder_digest
from tasks import grid
from tasks.db_task import study_identity
from tasks.progress import confirm_cancellation

GRID, SOUND, EVALUATION = GridConfig(), presets.sound(Path()).grid, EvaluationConfig()
Some = Field(min_length=1)
"""A form that lists nothing is refused at the door."""


@flow(name="study", flow_run_name=named("study {config.name}"), on_cancellation=[confirm_cancellation])
def study(config: StudyConfig) -> Path:
    """Run a study with every option open; returns where its report lies."""
    return _run(config)


@flow(name="studies", flow_run_name=named("studies {configs[0].name} ..."), on_cancellation=[confirm_cancellation])
def studies(configs: tuple[StudyConfig, ...]) -> list[Path]:
    """Run studies one after another; returns where their reports lie.

    Args:
        configs: Studies; `training.start` of a later one may be the name of an earlier one
    """
    return _run_all(configs)


@flow(name="study-demo", flow_run_name=named("study demo"), on_cancellation=[confirm_cancellation])
def study_demo() -> Path:
    """The whole study on synthetic mammograms, in minutes."""
    return _run(presets.demo())


@flow(name="study-paper", flow_run_name=named("study paper"), on_cancellation=[confirm_cancellation])
def study_paper(
    data: Path,
    seeds: Annotated[tuple[int, ...], Some] = GRID.seeds,
) -> Path:
    """What the published study did, as literally as can be established.

    Args:
        data: Folder of CBIS-DDSM
        seeds: Each repeats the grid with its own weights and order of samples
    """
    return _run(presets.paper(data).model_copy(update={"grid": GridConfig(seeds=seeds)}))


@flow(name="study-sound", flow_run_name=named("study {name}"), on_cancellation=[confirm_cancellation])
def study_sound(
    data: Path,
    name: StudyName = "sound",
    weights: Literal["imagenet", "none"] = "imagenet",
    backbones: Annotated[tuple[Backbone, ...], Some] = SOUND.backbones,
    strategies: Annotated[tuple[Strategy, ...], Some] = SOUND.strategies,
    seeds: Annotated[tuple[int, ...], Some] = SOUND.seeds,
    methods: Methods = EVALUATION.methods,
) -> Path:
    """The same question with patients kept apart, statistics of the training split, and tuned thresholds.

    Args:
        data: Folder of CBIS-DDSM, or of a manifest.csv (docs/data.md)
        name: Shown in the report
        weights: First weights, of ImageNet or random
        backbones: Networks to train
        strategies: gradual: the head first, then block after block; simultaneous: all that trains at once;
            last_block: head and last block
        seeds: Each repeats the grid with its own weights and order of samples
        methods: How activation maps are made, or all
    """
    preset = presets.sound(data)
    changes = {
        "name": name,
        "training": preset.training.model_copy(update={"weights": weights}),
        "grid": preset.grid.model_copy(update={"backbones": backbones, "strategies": strategies, "seeds": seeds}),
        "evaluation": preset.evaluation.model_copy(update={"methods": methods}),
    }
    return _run(preset.model_copy(update=changes))


@flow(name="study-barnett", flow_run_name=named("study barnett"), on_cancellation=[confirm_cancellation])
def study_barnett(data: Path) -> list[Path]:
    """Margins of masses by a black box, then by a case-based model that starts from it.

    Args:
        data: Folder of CBIS-DDSM
    """
    return _run_all(presets.barnett(data))


@flow(name="study-nightly", flow_run_name=named("study nightly"), on_cancellation=[confirm_cancellation])
def study_nightly(data: Path) -> Path | None:
    """The sound study of a folder whose files have changed since the last night; else nothing, which the log says.

    Args:
        data: Folder of CBIS-DDSM, or of a manifest.csv (docs/data.md), to which pictures are added now and then
    """
    found, last = folder_digest(data), f"nightly_{digest(str(data.absolute()))[:12]}"
    if Variable.get(last) == found:
        get_run_logger().info("%s has not changed since the last nightly study: nothing to do", data)
        return None
    page = _run(presets.sound(data).model_copy(update={"name": "nightly"}))
    Variable.set(last, found, overwrite=True)
    return page


def _run_all(configs: Sequence[StudyConfig]) -> list[Path]:
    """One study after another. What starts from an earlier one by name gets that very one, whatever else of its name
    the record holds.
    """
    pages, digests = list[Path](), dict[str, str]()
    for config in configs:
        study_id, page = _study(started_by(config, digests))
        pages.append(page)
        digests[config.name] = study_identity(study_id)
    return pages


def _run(config: StudyConfig) -> Path:
    """One study; returns where its report lies."""
    return _study(config)[1]


def _study(config: StudyConfig) -> tuple[int, Path]:
    """From the data to the report; what the record holds already is not done again. Returns the study's number, too.

    Steps are plain calls here, so that one flow run holds the tasks and results of the whole study. Runs that failed
    are in the record and in the report with their reasons; TrainingError, at the end, where every run failed.
    """
    shorten_errors()
    study_id = steps.prepare.fn(config)
    steps.train_grid(study_id)
    steps.evaluate_grid(study_id)
    if grid.lost_runs(study_id):  # their checkpoints are gone
        steps.train_grid(study_id)
        steps.evaluate_grid(study_id)
    page = steps.report.fn(study_id)
    grid.refuse_total_failure(study_id, f" The report says why: {page}")
    return study_id, page
