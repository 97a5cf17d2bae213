"""Epochs of a run for TensorBoard or MLflow, beside the record: a logger is a function here and a line in LOGGERS.

Files lie under the home, and nothing is sent out, unless MLFLOW_TRACKING_URI names a server for MLflow. Training needs
no logger: one that fails is named in the log once and left out for the rest of the run.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from lesionlens.identity import file_name
from lesionlens.records import EpochResult

log = logging.getLogger(__name__)

Write = Callable[[EpochResult], None]


@dataclass(frozen=True, slots=True)
class Logged:
    """A run as loggers name it. home: folder of their files; first: the epoch that comes next, 1 for a new run."""

    home: Path
    digest: str
    title: str
    parameters: Mapping[str, object]
    first: int


@contextmanager
def tensorboard(run: Logged) -> Iterator[Write]:
    """Events in `tensorboard/<run>`; what a killed attempt wrote beyond `first` is taken back."""
    from torch.utils.tensorboard import SummaryWriter

    folder = run.home / "tensorboard" / f"{file_name(run.title)}-{run.digest[:8]}"
    writer = SummaryWriter(str(folder), purge_step=run.first)

    def write(epoch: EpochResult) -> None:
        for name, value in numbers(epoch).items():
            writer.add_scalar(name, value, epoch.epoch)
        writer.flush()

    try:
        yield write
    finally:
        with suppress(Exception):  # every epoch was flushed
            writer.close()


@contextmanager
def mlflow(run: Logged) -> Iterator[Write]:
    """A run of MLflow's experiment `lesionlens`, found again by its digest; in `mlflow/mlflow.db` or on the server."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
    from mlflow import MlflowClient

    folder = run.home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    named = os.environ.get("MLFLOW_TRACKING_URI")
    with FileLock(folder / "mlflow.lock"):  # two processes must not make the tables, or the experiment, at once
        client = MlflowClient(named or f"sqlite:///{folder / 'mlflow.db'}")
        known = client.get_experiment_by_name("lesionlens")
        files = None if named else (folder / "files").as_uri()
        experiment = known.experiment_id if known else client.create_experiment("lesionlens", files)
    begun = client.search_runs([experiment], f"tags.`lesionlens.run` = '{run.digest}'")
    if begun:
        number = begun[0].info.run_id
        client.update_run(number, status="RUNNING")
    else:
        number = client.create_run(experiment, tags={"lesionlens.run": run.digest}, run_name=run.title).info.run_id
        for name, value in run.parameters.items():
            client.log_param(number, name, value)

    def write(epoch: EpochResult) -> None:
        for name, value in numbers(epoch).items():
            client.log_metric(number, name, value, step=epoch.epoch)

    status = "KILLED"  # where it ends in the middle, it goes on when the study is run again
    try:
        yield write
        status = "FINISHED"
    finally:
        with suppress(Exception):  # the server is gone, which the last epoch has said
            client.set_terminated(number, status)


LOGGERS: dict[str, Callable[[Logged], AbstractContextManager[Write]]] = {"tensorboard": tensorboard, "mlflow": mlflow}


def numbers(epoch: EpochResult) -> dict[str, float]:
    """What a logger shows of an epoch, by name; what the epoch does not have is left out."""
    found = {
        "loss/training": epoch.train_loss,
        "loss/validation": epoch.validation_loss,
        "accuracy/validation": epoch.validation_accuracy,
        "froc/validation": epoch.validation_froc,
        "phase": epoch.phase,
        "seconds": epoch.seconds,
        **{f"rate/{block}": rate for block, rate in epoch.rates.items()},
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def require(names: Sequence[str]) -> None:
    """ValueError where the package of a logger is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise ValueError(
                f"LESIONLENS_LOGGERS: {name} is not installed: pip install 'lesionlens[{name}]', or leave it out"
            )


@contextmanager
def logged(names: Sequence[str], run: Logged) -> Iterator[Write]:
    """Open the loggers of these names; yields what writes an epoch to all of them. ValueError as `require`."""
    require(names)
    writes: dict[str, Write] = {}

    def fails(name: str, error: Exception) -> None:
        writes.pop(name, None)
        log.warning("%s: %s could not be written (%s); training goes on without it", run.title, name, error)

    def write(epoch: EpochResult) -> None:
        for name, each in list(writes.items()):
            try:
                each(epoch)
            except Exception as error:
                fails(name, error)

    with ExitStack() as stack:
        for name in dict.fromkeys(names):
            try:
                writes[name] = stack.enter_context(LOGGERS[name](run))
            except Exception as error:
                fails(name, error)
        yield write
