"""Evaluate: scores and maps of one finished run, and comparisons between runs."""

import time

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from db import read, write
from db.engine import make_engine
from db.lease import lease
from lesionlens.config import StudyConfig
from lesionlens.evaluation.evaluate import evaluate
from lesionlens.evaluation.stats import compare
from lesionlens.home import home
from lesionlens.identity import digest
from lesionlens.training.fit import choose_device
from lesionlens.training.predict import load_model
from tasks.patches import patches_of
from tasks.progress import stage
from tasks.train import folder_of


@task(name="evaluate", task_run_name="evaluate {title}", cache_policy=NO_CACHE)
def evaluate_run(run_id: int, title: str, config: StudyConfig) -> int:
    """Predict, score and explain every test sample in one transaction; returns the evaluation id."""
    identity = digest(config.evaluation, config.seed)
    engine = make_engine()
    with lease(engine, f"evaluation of run {run_id}"):
        with engine.begin() as connection:
            known = read.find_evaluation(connection, run_id, identity)
            if known is not None:
                get_run_logger().info("%s is evaluated already: nothing to do", title)
                return known
            run = read.run_row(connection, run_id)
            checkpoint = next(c for c in read.checkpoints(connection, run_id) if c.role == "best")
        patches = patches_of(run.patch_set_id)
        device = choose_device(config.execution.device)
        paths = home().ensure()
        started = time.monotonic()
        model = load_model(
            run.config, run.training, patches.classes, folder_of(paths.checkpoints, run.digest), checkpoint
        )
        with stage(f"evaluate {title}", unit="samples") as advance:
            result = evaluate(
                model, run.config, run.training, config.evaluation, patches, config.seed, device, paths.cache, advance
            )
        with engine.begin() as connection:
            seconds = time.monotonic() - started
            return write.save_evaluation(connection, run_id, identity, config.evaluation, seconds, result)


@task(name="compare runs", cache_policy=NO_CACHE)
def compare_runs(study_id: int, config: StudyConfig) -> int:
    """Paired differences between every two evaluations of a study; returns how many were entered."""
    with make_engine().begin() as connection:
        samples = read.comparison_samples(connection, study_id)
        frame = compare(samples, config.evaluation, config.seed)
        write.save_comparisons(connection, study_id, frame)
    return frame.height
