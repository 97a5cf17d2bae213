"""Checkpoints: one safetensors file per kept epoch, in a folder or at a URL such as s3://bucket/prefix.

A file holds the whole network (`model.*`), Adam's moments (`optimizer.*`) and, in its header, the position of the run
(JSON); where weights are averaged, their average, too (`averaged.*`). Order of samples and random state need no
storing: they follow from seed and epoch number. Files are named by epoch and content and never overwritten. In a
folder a file appears whole or not at all. Elsewhere an interrupted write may leave a piece; nothing refers to it, as
the record learns of a file and its SHA-256 only after it is written.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from upath import UPath

from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.errors import CheckpointError
from lesionlens.identity import digest
from lesionlens.models.backbones import network
from lesionlens.models.classifier import Classifier
from lesionlens.records import Checkpoint
from lesionlens.training.strategies import Stopper

log = logging.getLogger(__name__)

SUFFIX = ".safetensors"
TEMPORARY = ".tmp"
BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs"})
"""Stores without folders, where making one would make a bucket."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands after an epoch: phase and epoch from 1 (epoch 0: nothing trained yet)."""

    phase: int
    epoch: int
    stopper: Stopper


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """Content of a checkpoint: digests of its run and sample set, position, tensors (optimizer: by parameter).

    averaged: state of the average of the phase's blocks, as `AveragedModel` gives it; empty without one.
    """

    configuration: str
    patches: str
    position: Position
    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]
    averaged: dict[str, Tensor] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """State dict of the network to be used: with the averaged weights, where there are any."""
        prefix = "module."
        own = {name.removeprefix(prefix): each for name, each in self.averaged.items() if name.startswith(prefix)}
        return self.model | own


def configuration_of(run: RunConfig, training: TrainingConfig, classes: Sequence[str]) -> str:
    """Digest of all that a run is, except its samples."""
    return digest("run", run, training, list(classes))


def checkpoint_folder(root: Path | str, run_digest: str) -> UPath:
    """Folder of the checkpoints of the run with this digest. OSError where no library reads the URL's protocol."""
    with _as_os_error(root):
        return UPath(root) / run_digest[:16]


def write_checkpoint(folder: UPath | Path, saved: Saved) -> tuple[str, str, int]:
    """Write the file and return its name, SHA-256 and size in bytes.

    On return the file is on disk under its final name; killed before, it is not there at all.
    Raises CheckpointError where it cannot be written, and leaves no half of it behind.
    """
    tensors = {f"model.{name}": tensor.detach().cpu().contiguous() for name, tensor in saved.model.items()}
    tensors |= {f"averaged.{name}": tensor.detach().cpu().contiguous() for name, tensor in saved.averaged.items()}
    for index, state in saved.optimizer.items():
        for name, tensor in state.items():
            tensors[f"optimizer.{index}.{name}"] = tensor.detach().cpu().contiguous()
    about = {"configuration": saved.configuration, "patches": saved.patches, "position": asdict(saved.position)}
    data = safetensors.torch.save(tensors, {"lesionlens": json.dumps(about, sort_keys=True)})
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{saved.position.epoch:04d}-{sha256[:16]}{SUFFIX}"
    try:
        if isinstance(folder, Path):
            _write_here(folder, name, data)
        else:
            _write_there(folder, name, data)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint of epoch {saved.position.epoch} ({len(data) / 1e6:.0f} MB) could not be written to "
            f"{folder}: {error}. Free disk space or move LESIONLENS_HOME or LESIONLENS_CHECKPOINTS, then run again"
        ) from error
    return name, sha256, len(data)


def _write_here(folder: Path, name: str, data: bytes) -> None:
    half_written = folder / (name + TEMPORARY)
    try:
        _make(folder)
        with half_written.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        half_written.replace(folder / name)
        _sync(folder)
    except OSError:
        half_written.unlink(missing_ok=True)
        raise


def _make(folder: Path) -> None:
    """Make the folder and sync its entry in the folder above."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_there(folder: UPath, name: str, data: bytes) -> None:
    with _as_os_error(folder):
        path = (folder / name).path
        try:
            if folder.protocol not in BUCKETS:
                folder.fs.makedirs(folder.path, exist_ok=True)
            folder.fs.pipe_file(path, data)
        except Exception:
            with suppress(Exception):  # a piece would take up space
                folder.fs.rm_file(path)
            raise


def read_checkpoint(folder: UPath | Path, checkpoint: Checkpoint) -> Saved:
    """The file's content. Raises CheckpointError if it is missing or differs from the record."""
    if checkpoint.path != Path(checkpoint.path).name:
        raise CheckpointError(f"checkpoint path {checkpoint.path!r} leaves its folder; a plain file name is expected")
    path = folder / checkpoint.path
    try:
        with _as_os_error(folder):
            data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != checkpoint.sha256:
        raise CheckpointError(f"checkpoint {path} is damaged: its SHA-256 is not the one in the record")
    tensors = safetensors.torch.load(data)
    length = int.from_bytes(data[:8], "little")
    return _saved(json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["lesionlens"]), tensors)


def _saved(header: dict[str, Any], tensors: dict[str, Tensor]) -> Saved:
    model: dict[str, Tensor] = {}
    averaged: dict[str, Tensor] = {}
    optimizer: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, rest = key.split(".", 1)
        if kind == "model":
            model[rest] = tensor
        elif kind == "averaged":
            averaged[rest] = tensor
        else:
            index, name = rest.split(".", 1)
            optimizer.setdefault(int(index), {})[name] = tensor
    position = header["position"]
    reached = Position(position["phase"], position["epoch"], Stopper(**position["stopper"]))
    return Saved(header["configuration"], header["patches"], reached, model, optimizer, averaged)


def newest(
    folder: UPath | Path, known: Sequence[Checkpoint], identity: tuple[str, str], title: str
) -> tuple[Saved | None, Checkpoint | None]:
    """The newest state from which the run of that identity (configuration, patches) can go on, and its best checkpoint.

    None and None where it starts again: there is no checkpoint, the best is damaged, or was kept slim, without moments.
    """

    def read(checkpoint: Checkpoint) -> Saved:
        saved = read_checkpoint(folder, checkpoint)
        if (saved.configuration, saved.patches) != identity:
            raise CheckpointError(f"checkpoint {checkpoint.path} belongs to another run or sample set")
        return saved

    roles = {checkpoint.role: checkpoint for checkpoint in known}
    best = roles.get("best")
    if best is None:
        return None, None
    try:
        at_best = read(best)
    except CheckpointError as error:
        log.warning("%s: %s; training starts again", title, error)
        return None, None
    if not at_best.optimizer:
        return None, None
    try:
        return read(roles.get("last", best)), best
    except CheckpointError as error:
        log.warning("%s: %s; training goes on from epoch %d", title, error, best.epoch)
        return at_best, best


def slim(folder: UPath | Path, best: Checkpoint) -> Checkpoint:
    """Write the best checkpoint of a finished run, its weights alone, a third of it; the old file stays.

    A run can be evaluated from it, and not be gone on with. CheckpointError as read and write.
    """
    saved = read_checkpoint(folder, best)
    name, sha256, size = write_checkpoint(folder, replace(saved, model=saved.weights, optimizer={}, averaged={}))
    return replace(best, path=name, sha256=sha256, bytes=size)


def keep_only(folder: UPath | Path, names: Iterable[str]) -> None:
    """Delete every other checkpoint of the folder, and what a killed write left."""
    kept = set(names)
    with _as_os_error(folder):
        UPath(folder).fs.invalidate_cache()
        for path in folder.iterdir():
            if path.name not in kept and path.name.endswith((SUFFIX, SUFFIX + TEMPORARY)):
                path.unlink(missing_ok=True)


def size(folder: UPath | Path | str) -> int:
    """Bytes of all files in and below a folder or URL; 0 where it does not exist."""
    with _as_os_error(folder):
        place = UPath(folder)
        place.fs.invalidate_cache()
        return sum(int(found["size"]) for found in place.fs.find(place.path, detail=True).values())


@contextmanager
def _as_os_error(folder: UPath | Path | str) -> Iterator[None]:
    """Whatever the libraries behind a URL raise becomes an OSError."""
    try:
        yield
    except OSError:
        raise
    except (ImportError, ValueError) as error:
        raise OSError(
            f"checkpoints cannot be kept at {folder}: {error}. For s3:// install 'lesionlens[s3]'; else name a folder"
        ) from error
    except Exception as error:  # botocore and its kin have families of their own
        raise OSError(f"{folder} is out of reach: {type(error).__name__}: {error}") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """The optimiser's state by position of the parameter."""
    return {int(index): dict(state) for index, state in optimizer.state_dict()["state"].items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Tensor]]) -> None:
    """Load a stored state; groups and rates stay as the configuration made them."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    placed = {
        index: {name: _like(parameters[index], tensor) for name, tensor in moments.items()}
        for index, moments in state.items()
    }
    optimizer.load_state_dict({"state": placed, "param_groups": optimizer.state_dict()["param_groups"]})


def _like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """In the parameter's memory layout: fused Adam walks a parameter and its moments in step."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor


def load_model(
    run: RunConfig, training: TrainingConfig, classes: Sequence[str], folder: UPath | Path, checkpoint: Checkpoint
) -> Classifier:
    """The run's network as stored in the checkpoint, on the CPU, in evaluation mode.

    Raises CheckpointError if the file is missing, differs from the record, or belongs to another run.
    """
    saved = read_checkpoint(folder, checkpoint)
    if saved.configuration != configuration_of(run, training, classes):
        raise CheckpointError(f"checkpoint {checkpoint.path} in {folder} was not made by run {run.title}")
    model = network(run, training, len(classes))
    model.load_state_dict(saved.weights)
    return model.eval()
