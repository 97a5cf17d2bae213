"""Evaluate: scores and maps of one trained run, comparisons between runs, the shortcut audit of a sample set."""

import time
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from prefect import get_run_logger
from sqlalchemy import Engine
from torch import OutOfMemoryError

from db import evaluations, studies
from db.engine import make_engine
from db.locks import Lease, free_lease, lease
from db.queries import arrays, starts
from db.studies import RunRow
from lesionlens.attribution.closed_form import fast
from lesionlens.attribution.sweep import PatchRun
from lesionlens.audits.cells import Stored, cell_decisions, probabilities_of
from lesionlens.audits.guided import guidance_effects
from lesionlens.audits.shortcuts import block_means, reference, shortcut_audit
from lesionlens.config.study import StudyConfig, evaluation_digest
from lesionlens.detection.fit import load_detector
from lesionlens.errors import CheckpointError, EvaluationError
from lesionlens.evaluate import EvaluationInputs, evaluate, evaluate_detector
from lesionlens.localization.baselines import random_model
from lesionlens.records import Evaluation, SampleArrays
from lesionlens.scoring.binary import binary_views
from lesionlens.scoring.comparison.models import compare, compare_areas
from lesionlens.scoring.localization import common_scores
from lesionlens.settings import home
from lesionlens.training.augment import draw_variants
from lesionlens.training.checkpoints import checkpoint_folder, load_model
from lesionlens.training.feature_cache import FeatureCache
from lesionlens.training.fit import first_model
from lesionlens.training.inputs import Inputs
from tasks.db_task import db_task, is_transient, retried, samples_of, study_config, timeout_behind
from tasks.progress import progress
from tasks.train import Outcome, device_slot, trained


@retried
def plan_evaluations(study_id: int) -> None:
    """Make the evaluations of this version those of the study; the record keeps those of an older version."""
    identity = evaluation_digest(study_config(study_id))
    with make_engine().begin() as connection:
        studies.plan_evaluations(connection, study_id, identity)


@db_task("evaluate", "evaluate {title}")
def evaluate_run(study_id: int, run_id: int, title: str, since: datetime, wait: bool = True) -> Outcome:
    """Predict, score and explain every test sample in one transaction; one worker at a time, as in training.

    A run that cannot be evaluated keeps its training, and the reason is recorded; one that failed after `since` is not
    tried again. A run whose checkpoint is lost or damaged is to be trained again.
    """
    identity, engine = evaluation_digest(study_config(study_id)), make_engine()
    with (lease if wait else free_lease)(engine, lock_name(run_id)) as claim:
        if claim is None:
            return "elsewhere"
        with engine.connect() as connection:
            known = evaluations.outcome(connection, run_id, identity, since)
        if known is not None:
            return known
        try:
            _evaluate(engine, study_id, run_id, title, claim)
        except CheckpointError as error:
            with engine.begin() as connection:
                studies.forget_training(connection, run_id)
            get_run_logger().error("%s is to be trained again: %s", title, error)
            return "failed"
        except (EvaluationError, OutOfMemoryError, OSError) as error:
            if is_transient(error) or timeout_behind(error):
                raise
            record_failure(study_id, run_id, title, str(error))
            return "failed"
    return "finished"


def _evaluate(engine: Engine, study_id: int, run_id: int, title: str, claim: Lease) -> None:
    config = study_config(study_id)
    with engine.connect() as connection:
        sample_set_id = studies.run_row(connection, run_id).sample_set_id
        attributes = arrays.sample_attributes(connection, sample_set_id)
    result, seconds = evaluated(engine, config, run_id, title, samples_of(sample_set_id), attributes, [sample_set_id])
    claim.check()
    with engine.begin() as connection:
        identity = evaluation_digest(config)
        evaluations.save_evaluation(connection, run_id, identity, config.evaluation, seconds, result)


def evaluated(
    engine: Engine,
    config: StudyConfig,
    run_id: int,
    title: str,
    samples: SampleArrays,
    attributes: pl.DataFrame,
    sets: Collection[int],
) -> tuple[Evaluation, float]:
    """A run's model on the test split of these samples, and how many seconds that took. sets: where they come from.

    CheckpointError where its weights are lost; EvaluationError as `evaluate`.
    """
    with engine.connect() as connection:
        run = studies.run_row(connection, run_id)
        shown = pl.concat([arrays.shown_lesions(connection, each) for each in sets], how="vertical_relaxed")
        behind = None if config.unit == "patch" else starts.patches_behind(connection, run.training.start)
        checkpoint = next((c for c in studies.checkpoints(connection, run_id) if c.role == "best"), None)
    if checkpoint is None:
        raise CheckpointError(f"the record holds no checkpoint of {title}")
    paths = home().ensure()
    with device_slot(engine) as device, progress(f"evaluate {title}", "samples") as advance:
        started = time.monotonic()
        folder = checkpoint_folder(paths.checkpoints, run.digest)
        options = config.evaluation, samples, attributes, config.seed
        stacked = 2 if config.unit == "breast" else 1
        patches = None if behind is None else patch_run(engine, *behind, stacked)
        weights = run.config, run.training, samples.classes, folder, checkpoint
        if run.config.system == "detector":
            given = EvaluationInputs(run.training.normalise, *options, None, config.positive, shown, patches)
            result = evaluate_detector(load_detector(*weights), given, device)
        else:
            random = partial(random_model, run.config, run.training, samples)
            given = EvaluationInputs(run.training.normalise, *options, random, config.positive, shown, patches)
            # Features of a stem that was trained serve this run alone, and most of them are of training samples.
            cache = None if run.config.strategy == "two_step" else paths.cache
            result = evaluate(load_model(*weights), given, device, cache, advance)
    return result, time.monotonic() - started


def patch_run(engine: Engine, run: RunRow, size: int, stacked: int) -> PatchRun | None:
    """The classifier of patches that a run of films began with, to be slid over films, `stacked` of which are a
    sample.

    None, and a warning, where its weights are lost; None where every patch shows a lesion, so that it tells none.
    """
    with engine.connect() as connection:
        codes, lesions = (starts.classes(connection, run.sample_set_id, lesions=each) for each in (False, True))
        statistics = arrays.statistics(connection, run.sample_set_id)
    if len(lesions) == len(codes):
        return None
    try:
        model = fast(trained(engine, run.digest), "block")
    except CheckpointError as error:
        get_run_logger().warning("no sweep of the patch run: %s", error)
        return None
    return PatchRun(model, run.training.normalise, statistics, tuple(map(codes.index, lesions)), size, stacked)


def record_failure(study_id: int, run_id: int, title: str, reason: str) -> None:
    """Enter that the evaluation of a run failed, and why."""
    identity = evaluation_digest(study_config(study_id))
    with make_engine().begin() as connection:
        evaluations.fail(connection, run_id, identity, reason)
    get_run_logger().error("%s could not be evaluated: %s", title, reason)


def lock_name(run_id: int) -> str:
    """Name of the lock that whoever evaluates the run holds."""
    return f"evaluation of run {run_id}"


@retried
def is_compared(study_id: int) -> bool:
    """Whether every evaluation of the study is in its comparisons."""
    with make_engine().connect() as connection:
        return evaluations.is_compared(connection, study_id)


@db_task("compare runs")
def compare_runs(study_id: int) -> int:
    """Paired differences between every two evaluations of a study, each one's scores over common samples, and what the
    decisions of every cell rest on.

    Returns how many differences were entered.
    """
    config = study_config(study_id)
    return enter_comparisons(study_id, config, reference_models(study_id, config))


def reference_models(study_id: int, config: StudyConfig) -> dict[str, NDArray[np.float32]]:
    """By backbone the probabilities of the test split by the regression on its first weights (`reference`).

    On patches, where first weights are pretrained. It learns from the variants of training samples that the networks
    were shown, and from the samples alone where there were none.
    """
    if config.unit != "patch" or config.grid.system != "classifier" or config.training.weights == "none":
        return {}
    if config.training.start is not None:
        return {}
    engine = make_engine()
    with engine.connect() as connection:
        samples = samples_of(studies.study_row(connection, study_id).sample_set_id)
    variants, found = draw_variants(samples, config.training.augment), {}
    of = np.zeros(0, dtype=np.int64) if variants is None else variants.of
    with device_slot(engine) as device:
        inputs = Inputs(samples, config.training.normalise, torch.device(device), variants)
        for backbone in config.grid.backbones:
            run = next(run for run in config.grid.runs() if run.backbone == backbone)
            model = first_model(run, config.training, samples)
            means = block_means(model, inputs, FeatureCache(home().ensure().cache, inputs).known(model, "unit2"))
            fitted = reference(means, samples, of)
            if fitted is not None:
                found[str(backbone)] = fitted[0]
                get_run_logger().info("%s: reference on block unit2, C %g", backbone, fitted[1])
    return found


def enter_comparisons(
    study_id: int, config: StudyConfig, references: Mapping[str, NDArray[np.float32]] = MappingProxyType({})
) -> int:
    """The work of `compare_runs`. references: as `reference_models` gives."""
    engine = make_engine()
    with lease(engine, f"comparisons of study {study_id}"), engine.begin() as connection:
        compared, selected = evaluations.comparison_samples(connection, study_id)
        scores = common_scores(*evaluations.common_samples(connection, study_id), config.evaluation, config.seed)
        evaluations.save_study_scores(connection, study_id, scores)
        sample_set_id = studies.study_row(connection, study_id).sample_set_id
        samples = arrays.load_samples(connection, sample_set_id)
        attributes = arrays.sample_attributes(connection, sample_set_id)
        views = binary_views(samples, attributes, config.positive)
        stored, test = Stored(**evaluations.decided(connection, study_id)), samples.split("test")
        areas = compare_areas(probabilities_of(stored, test), test, views, selected, config.evaluation, config.seed)
        frame = pl.concat([compare(compared, selected, config.evaluation, config.seed), areas])
        evaluations.save_comparisons(connection, study_id, frame)
        found = cell_decisions(stored, samples, views, config.evaluation, config.seed, references)
        maps = evaluations.guided_maps(connection, study_id)
        guided = guidance_effects(stored, maps, samples, attributes, views, config.evaluation, config.seed)
        evaluations.save_decisions(connection, study_id, pl.concat([found, guided]))
    return frame.height


@db_task("audit shortcuts")
def audit_shortcuts(study_id: int) -> bool:
    """How far simple features of a sample predict its class, once per sample set; False where the record holds it."""
    return enter_shortcuts(study_id, study_config(study_id))


def enter_shortcuts(study_id: int, config: StudyConfig) -> bool:
    """The work of `audit_shortcuts`."""
    engine, identity = make_engine(), evaluation_digest(config)
    with engine.connect() as connection:
        sample_set_id = studies.study_row(connection, study_id).sample_set_id
    with lease(engine, f"shortcuts of sample set {sample_set_id}"):
        with engine.connect() as connection:
            if evaluations.has_shortcuts(connection, sample_set_id, identity):
                return False
            attributes = arrays.sample_attributes(connection, sample_set_id)
        windows = attributes.select("window_width", "window_height").cast(pl.Float64).to_numpy()
        samples = samples_of(sample_set_id)
        views = binary_views(samples, attributes, config.positive)
        found = shortcut_audit(samples, windows, views, config.evaluation, config.seed)
        with engine.begin() as connection:
            evaluations.save_shortcuts(connection, sample_set_id, identity, found)
    return True
