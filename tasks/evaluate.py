"""Evaluate: scores and maps of one finished run, comparisons between runs, the shortcut audit of a sample set."""

import time

import polars as pl

from db import datasets, evaluations, studies
from db.engine import make_engine
from db.locks import free_lease, lease
from lesionlens.audits.shortcuts import shortcut_audit
from lesionlens.config import ExecutionConfig, StudyConfig
from lesionlens.evaluate import EvaluationInputs, evaluate, evaluation_digest
from lesionlens.scoring.comparison import compare
from lesionlens.scoring.localization import common_scores
from lesionlens.settings import home
from lesionlens.training.checkpoints import load_model
from tasks.device import device_slot
from tasks.patches import patches_of
from tasks.progress import stage
from tasks.recorded import recorded
from tasks.train import Outcome, folder_of


@recorded("plan evaluations", "plan evaluations of study {study_id}")
def plan_evaluations(study_id: int, config: StudyConfig) -> None:
    """Let the study's evaluations be those that this version computes; those of an older one stay in the record."""
    with make_engine().begin() as connection:
        studies.plan_evaluations(connection, study_id, evaluation_digest(config))


@recorded("evaluate", "evaluate {title}")
def evaluate_run(
    run_id: int, title: str, config: StudyConfig, execution: ExecutionConfig, wait: bool = True
) -> Outcome:
    """Predict, score and explain every test sample in one transaction; one worker at a time, as in training."""
    identity = evaluation_digest(config)
    engine = make_engine()
    with (lease if wait else free_lease)(engine, work_name(run_id)) as mine:
        if mine is None:
            return "elsewhere"
        with engine.begin() as connection:
            if evaluations.find_evaluation(connection, run_id, identity) is not None:
                return "finished"
            run = studies.run_row(connection, run_id)
            checkpoint = next(c for c in studies.checkpoints(connection, run_id) if c.role == "best")
            attributes = datasets.sample_attributes(connection, run.sample_set_id)
        patches = patches_of(run.sample_set_id)
        with device_slot(engine, execution) as device:
            paths = home().ensure()
            started = time.monotonic()
            model = load_model(
                run.config, run.training, patches.classes, folder_of(paths.checkpoints, run.digest), checkpoint
            )
            with stage(f"evaluate {title}", unit="samples") as advance:
                given = EvaluationInputs(
                    run.config, run.training, config.evaluation, patches, attributes, config.seed
                )
                result = evaluate(model, given, device, paths.cache, advance)
        seconds = time.monotonic() - started
        mine.check()
        with engine.begin() as connection:
            evaluations.save_evaluation(connection, run_id, identity, config.evaluation, seconds, result)
    return "finished"


def work_name(run_id: int) -> str:
    """The name of the lease of a run's evaluation."""
    return f"evaluation of run {run_id}"


@recorded("compare runs")
def compare_runs(study_id: int, config: StudyConfig) -> int:
    """Paired differences between every two evaluations of a study, and each one's scores over common samples.

    Returns how many differences were entered.
    """
    engine = make_engine()
    with lease(engine, f"comparisons of study {study_id}"), engine.begin() as connection:
        frame = compare(*evaluations.comparison_samples(connection, study_id), config.evaluation, config.seed)
        evaluations.save_comparisons(connection, study_id, frame)
        scores = common_scores(*evaluations.common_samples(connection, study_id), config.evaluation, config.seed)
        evaluations.save_study_scores(connection, study_id, scores)
    return frame.height


@recorded("audit shortcuts")
def audit_shortcuts(study_id: int, config: StudyConfig) -> bool:
    """What a few numbers of every patch say about its class, once per sample set; False where that is known."""
    identity = evaluation_digest(config)
    engine = make_engine()
    with engine.connect() as connection:
        sample_set_id = studies.study_row(connection, study_id).sample_set_id
    with lease(engine, f"shortcuts of sample set {sample_set_id}"):
        with engine.connect() as connection:
            if evaluations.has_shortcuts(connection, sample_set_id, identity):
                return False
            attributes = datasets.sample_attributes(connection, sample_set_id)
        windows = attributes.select("window_width", "window_height").cast(pl.Float64).to_numpy()
        found = shortcut_audit(patches_of(sample_set_id), windows, config.evaluation, config.seed)
        with engine.begin() as connection:
            evaluations.save_shortcuts(connection, sample_set_id, identity, found)
    return True
