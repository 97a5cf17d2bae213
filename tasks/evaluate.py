"""Evaluate: scores and maps of one finished run, and comparisons between runs."""

import time

from db import read, write
from db.engine import make_engine
from db.lease import free_lease, lease
from lesionlens.config import ExecutionConfig, StudyConfig
from lesionlens.evaluation.evaluate import evaluate
from lesionlens.evaluation.stats import compare
from lesionlens.home import home
from lesionlens.identity import digest
from lesionlens.training.predict import load_model
from tasks.device import device_slot
from tasks.patches import patches_of
from tasks.progress import stage
from tasks.recorded import recorded
from tasks.train import Outcome, folder_of


@recorded("evaluate", "evaluate {title}")
def evaluate_run(
    run_id: int, title: str, config: StudyConfig, execution: ExecutionConfig, wait: bool = True
) -> Outcome:
    """Predict, score and explain every test sample in one transaction; one worker at a time, as in training."""
    identity = digest(config.evaluation, config.seed)
    engine = make_engine()
    with (lease if wait else free_lease)(engine, work_name(run_id)) as mine:
        if mine is None:
            return "elsewhere"
        with engine.begin() as connection:
            if read.find_evaluation(connection, run_id, identity) is not None:
                return "finished"
            run = read.run_row(connection, run_id)
            checkpoint = next(c for c in read.checkpoints(connection, run_id) if c.role == "best")
        patches = patches_of(run.patch_set_id)
        with device_slot(engine, execution) as device:
            paths = home().ensure()
            started = time.monotonic()
            model = load_model(
                run.config, run.training, patches.classes, folder_of(paths.checkpoints, run.digest), checkpoint
            )
            with stage(f"evaluate {title}", unit="samples") as advance:
                result = evaluate(
                    model,
                    run.config,
                    run.training,
                    config.evaluation,
                    patches,
                    config.seed,
                    device,
                    paths.cache,
                    advance,
                )
        seconds = time.monotonic() - started
        mine.check()
        with engine.begin() as connection:
            write.save_evaluation(connection, run_id, identity, config.evaluation, seconds, result)
    return "finished"


def work_name(run_id: int) -> str:
    """The name of the lease of a run's evaluation."""
    return f"evaluation of run {run_id}"


@recorded("compare runs")
def compare_runs(study_id: int, config: StudyConfig) -> int:
    """Paired differences between every two evaluations of a study; returns how many were entered."""
    engine = make_engine()
    with lease(engine, f"comparisons of study {study_id}"), engine.begin() as connection:
        samples = read.comparison_samples(connection, study_id)
        frame = compare(samples, config.evaluation, config.seed)
        write.save_comparisons(connection, study_id, frame)
    return frame.height
