"""Train: one run of the grid, epoch by epoch into the record."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from typing import Literal

import torch
from prefect import get_run_logger
from sqlalchemy import Engine
from torch import Tensor
from upath import UPath

from db import studies
from db.engine import make_engine
from db.locks import Lease, free_lease, lease, slot
from db.queries import arrays, starts
from lesionlens.detection.fit import Films, fit_detector
from lesionlens.detection.marks import lesions_of
from lesionlens.errors import CheckpointError, TrainingError
from lesionlens.loggers import Logged, logged
from lesionlens.models.classifier import Classifier
from lesionlens.processes import keep_freed_memory
from lesionlens.records import Checkpoint
from lesionlens.settings import home, settings
from lesionlens.training.checkpoints import checkpoint_folder, keep_only, load_model, size, slim
from lesionlens.training.fit import choose_device, fit
from lesionlens.training.prototypes.fit import fit_prototypes
from lesionlens.training.strategies import PHASES
from tasks.artifacts import show_epochs
from tasks.db_task import db_task, is_transient, samples_of, timeout_behind
from tasks.progress import progress, run_logger, stop_if_cancelled

Outcome = Literal["finished", "failed", "elsewhere"]


@db_task("train", "train {title}")
def train_run(run_id: int, title: str, since: datetime, wait: bool = True) -> Outcome:
    """Fit one run from where the record says it stands.

    A run that cannot be trained (a NaN loss, a full disk) is recorded as failed with its reason, so that the rest of
    the grid goes on; one that failed after `since` is not tried again. Two workers never fit the same run: the second
    waits and then finds it done, or without `wait` leaves it to the first ("elsewhere").
    """
    engine = make_engine()
    with (lease if wait else free_lease)(engine, lock_name(run_id)) as claim:
        if claim is None:
            return "elsewhere"
        with engine.connect() as connection:
            known = studies.outcome(connection, run_id, since)
        if known is not None:
            return known
        with device_slot(engine) as device:
            try:
                _fit(engine, run_id, title, device, claim)
            except (TrainingError, OSError) as error:
                if is_transient(error) or timeout_behind(error):
                    raise
                record_failure(run_id, title, str(error))
                return "failed"
        return "finished"


def _fit(engine: Engine, run_id: int, title: str, device: str, claim: Lease) -> None:
    with engine.begin() as connection:
        run = studies.run_row(connection, run_id)
        resume = studies.checkpoints(connection, run_id)
        studies.start_run(connection, run_id, device)
    samples, paths = samples_of(run.sample_set_id), home().ensure()
    start = None if run.training.start is None else partial(start_weights, engine, run.training.start)
    folder = checkpoint_folder(paths.checkpoints, run.digest)
    most = run.training.stopping.max_epochs * len(PHASES[run.config.strategy])
    fitted = fit
    if run.config.system == "prototype":
        most, fitted = run.training.prototypes.epochs, fit_prototypes
    trained = max((found.epoch for found in resume), default=0)
    parameters = run.config.model_dump(mode="json", exclude={"guidance"})
    told = Logged(paths.root, run.digest, title, parameters, trained + 1)
    with progress(f"train {title}", "epochs", most, trained) as advance, logged(settings().loggers, told) as tell:
        options = device, resume, start
        if run.config.system == "detector":
            with engine.connect() as connection:
                lesions = lesions_of(arrays.shown_lesions(connection, run.sample_set_id), samples.ids)
            epochs = fit_detector(run.config, run.training, Films(samples, lesions), folder, *options)
        else:
            epochs = fitted(run.config, run.training, samples, folder, paths.cache, *options)
        for result in epochs:
            claim.check()
            with engine.begin() as connection:
                studies.save_epoch(connection, run_id, result)
            advance(result.epoch, most)
            show_epochs(run_id, title, most)
            tell(result)
            stop_if_cancelled()
    claim.check()
    best = _finish(engine, run_id, folder)
    show_epochs(run_id, title, None)
    own, all_runs, cache = (size(place) / 1e9 for place in (folder, paths.checkpoints, paths.cache))
    get_run_logger().info(
        "%s: best epoch %d; on disk: its checkpoints %.2f GB, those of all runs %.2f GB, feature cache %.2f GB",
        title, best.epoch, own, all_runs, cache,
    )  # fmt: skip


def _finish(engine: Engine, run_id: int, folder: UPath) -> Checkpoint:
    """Enter that the run is finished; unless all are to be kept, its best weights alone stay on disk."""
    with engine.connect() as connection:
        best = studies.checkpoints(connection, run_id)[0]
    kept = None if settings().keep == "all" else slim(folder, best)
    with engine.begin() as connection:
        studies.finish_run(connection, run_id, kept)
    if kept is not None:
        keep_only(folder, [kept.path])
    return kept or best


def start_weights(engine: Engine, digest: str) -> dict[str, Tensor]:
    """State dict of the run with this digest, which another begins with. CheckpointError where its weights are lost."""
    return trained(engine, digest).state_dict()


def trained(engine: Engine, digest: str) -> Classifier:
    """The model of the run with this digest, which another begins with. CheckpointError where its weights are lost."""
    with engine.connect() as connection:
        run = starts.run_of(connection, digest)
        known = studies.checkpoints(connection, run.id) if run else ()
        if run is None or not known:
            raise CheckpointError(f"training.start: the weights of run {digest[:16]} are gone: train its study again")
        classes = starts.classes(connection, run.sample_set_id)
    folder = checkpoint_folder(home().checkpoints, digest)
    return load_model(run.config, run.training, classes, folder, known[0])


def record_failure(run_id: int, title: str, reason: str) -> None:
    """Enter that a run failed, and why."""
    with make_engine().begin() as connection:
        studies.fail_run(connection, run_id, reason)
    get_run_logger().error("%s failed: %s", title, reason)


def lock_name(run_id: int) -> str:
    """Name of the lock that whoever trains the run holds."""
    return f"run {run_id}"


@contextmanager
def device_slot(engine: Engine) -> Iterator[str]:
    """The device to work on, once fewer than `runs_per_device` other runs work on it, in any study or process.

    The limit is held in the record, so it holds for all processes of a machine; machines have devices of their own.
    StoppedError if the flow run is cancelled while it waits.
    """
    at_once = settings().runs_per_device
    device = choose_device(settings().device)
    if device == "cpu":
        keep_freed_memory()
        if at_once > 1:  # threads of several runs would wait for each other's cores
            torch.set_num_threads(max(all_threads() // at_once, 1))
    name, waiting = device_name(device), False

    def wait() -> None:
        nonlocal waiting
        if not waiting:
            run_logger().info("All %d slots of %s are taken: waiting", at_once, name)
            waiting = True
        stop_if_cancelled()

    stop_if_cancelled()
    with slot(engine, name, at_once, wait):
        yield device


@cache
def all_threads() -> int:
    """Threads that torch would use on a CPU by itself: the cores, or what OMP_NUM_THREADS says."""
    return torch.get_num_threads()


def device_name(device: str) -> str:
    """A name that identifies the device over all machines: the GPU's UUID, or the host name for the CPU."""
    if device == "cuda":  # CUDA_VISIBLE_DEVICES renumbers GPUs, the UUID stays
        return f"GPU {torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
    return f"CPU of {socket.gethostname()}"
