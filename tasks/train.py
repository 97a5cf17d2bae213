"""Train: one run of the grid, epoch by epoch into the record."""

from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from db import read, write
from db.engine import make_engine
from db.lease import lease
from lesionlens.config import ExecutionConfig
from lesionlens.home import home
from lesionlens.training.fit import TrainingError, choose_device, fit
from tasks.patches import patches_of
from tasks.progress import stage


@task(name="train", task_run_name="train {title}", cache_policy=NO_CACHE)
def train_run(run_id: int, title: str, execution: ExecutionConfig) -> bool:
    """Fit one run from where the record says it stands; True if it is finished, False if it failed.

    A run that cannot be trained (a NaN loss, a full disk) is recorded as failed with its reason, so that
    the rest of the grid goes on. Two workers never fit the same run: the second waits and then finds it done.
    """
    log = get_run_logger()
    engine = make_engine()
    with lease(engine, f"run {run_id}"):
        with engine.begin() as connection:
            run = read.run_row(connection, run_id)
            if run.status == "finished":
                return True
            resume = read.checkpoints(connection, run_id)
            write.start_run(connection, run_id, choose_device(execution.device))
        patches = patches_of(run.patch_set_id)
        paths = home().ensure()
        most = run.training.stopping.max_epochs * (3 if run.config.strategy == "gradual" else 1)
        try:
            with stage(f"train {title}", total=most, unit="epochs") as advance:
                for result in fit(
                    run.config,
                    run.training,
                    patches,
                    folder_of(paths.checkpoints, run.digest),
                    paths.cache,
                    choose_device(execution.device),
                    resume,
                ):
                    with engine.begin() as connection:
                        write.save_epoch(connection, run_id, result)
                    advance(result.epoch, most)
        except (TrainingError, OSError) as error:
            with engine.begin() as connection:
                write.fail_run(connection, run_id, str(error))
            log.error("%s failed: %s", title, error)
            return False
        with engine.begin() as connection:
            write.finish_run(connection, run_id)
            best = read.checkpoints(connection, run_id)[0]
        own, all_runs, cache = (
            _gigabytes(path) for path in (folder_of(paths.checkpoints, run.digest), paths.checkpoints, paths.cache)
        )
        log.info(
            "%s: best epoch %d; on disk: its checkpoints %.2f GB, those of all runs %.2f GB, feature cache %.2f GB",
            title, best.epoch, own, all_runs, cache,
        )  # fmt: skip
        return True


def folder_of(checkpoints: Path, digest: str) -> Path:
    """Where the checkpoints of the run with this digest lie."""
    return checkpoints / digest[:16]


def _gigabytes(folder: Path) -> float:
    """What the tensors in a folder take on disk."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e9
