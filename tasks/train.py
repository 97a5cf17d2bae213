"""Train: one run of the grid, epoch by epoch into the record."""

from datetime import datetime
from typing import Literal

from prefect import get_run_logger
from sqlalchemy import Engine

from db import studies
from db.engine import make_engine
from db.locks import Lease, free_lease, lease
from lesionlens.config import ExecutionConfig
from lesionlens.errors import TrainingError
from lesionlens.settings import home
from lesionlens.training.checkpoints import checkpoint_folder, size
from lesionlens.training.fit import fit
from lesionlens.training.strategies import PHASES
from tasks.cancellation import Wanted
from tasks.device import device_slot
from tasks.patches import patches_of
from tasks.progress import stage
from tasks.recorded import passing, recorded

Outcome = Literal["finished", "failed", "elsewhere"]


@recorded("train", "train {title}")
def train_run(run_id: int, title: str, execution: ExecutionConfig, since: datetime, wait: bool = True) -> Outcome:
    """Fit one run from where the record says it stands.

    A run that cannot be trained (a NaN loss, a full disk) is recorded as failed with its reason, so that
    the rest of the grid goes on; one that failed after `since` is not tried again. Two workers never fit the
    same run: the second waits and then finds it done, or with `wait` off leaves it to the first ("elsewhere").
    """
    engine = make_engine()
    with (lease if wait else free_lease)(engine, work_name(run_id)) as mine:
        if mine is None:
            return "elsewhere"
        with engine.connect() as connection:
            known = studies.outcome(connection, run_id, since)
        if known is not None:
            return known
        with device_slot(engine, execution) as device:
            try:
                _fit(engine, run_id, title, device, mine)
            except (TrainingError, OSError) as error:
                if passing(error):
                    raise
                record_failure(run_id, title, str(error))
                return "failed"
        return "finished"


def _fit(engine: Engine, run_id: int, title: str, device: str, mine: Lease) -> None:
    with engine.begin() as connection:
        run = studies.run_row(connection, run_id)
        resume = studies.checkpoints(connection, run_id)
        studies.start_run(connection, run_id, device)
    patches = patches_of(run.sample_set_id)
    paths, wanted = home().ensure(), Wanted()
    folder = checkpoint_folder(paths.checkpoints, run.digest)
    most = run.training.stopping.max_epochs * len(PHASES[run.config.strategy])
    trained = max((each.epoch for each in resume), default=0)
    with stage(f"train {title}", "epochs", most, done=trained, at_most=True) as advance:
        for result in fit(run.config, run.training, patches, folder, paths.cache, device, resume):
            mine.check()
            with engine.begin() as connection:
                studies.save_epoch(connection, run_id, result)
            advance(result.epoch, most)
            wanted.check()
    mine.check()
    with engine.begin() as connection:
        studies.finish_run(connection, run_id)
        best = studies.checkpoints(connection, run_id)[0]
    own, all_runs, cache = (size(place) / 1e9 for place in (folder, paths.checkpoints, paths.cache))
    get_run_logger().info(
        "%s: best epoch %d; on disk: its checkpoints %.2f GB, those of all runs %.2f GB, feature cache %.2f GB",
        title, best.epoch, own, all_runs, cache,
    )  # fmt: skip


def record_failure(run_id: int, title: str, reason: str) -> None:
    """Enter that a run failed, and why."""
    with make_engine().begin() as connection:
        studies.fail_run(connection, run_id, reason)
    get_run_logger().error("%s failed: %s", title, reason)


def work_name(run_id: int) -> str:
    """The name of the lease of a run's training."""
    return f"run {run_id}"
