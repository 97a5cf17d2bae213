"""Checkpoints: one safetensors file per kept epoch, with everything that continuing needs.

A file holds the whole network (`model.*`), Adam's moments (`optimizer.*`) and, in its header, the position of
the run (JSON). Data order and random state need no storing: they follow from seed and epoch number. Files
are named by epoch and content, written whole or not at all, and never overwritten.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from lesionlens.config import RunConfig, TrainingConfig
from lesionlens.errors import CheckpointError
from lesionlens.identity import digest
from lesionlens.models.backbones import Classifier, build
from lesionlens.records import Checkpoint
from lesionlens.training import store
from lesionlens.training.store import Folder
from lesionlens.training.strategies import Stopper

SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands after an epoch: phase and epoch from 1 (epoch 0: nothing trained yet)."""

    phase: int
    epoch: int
    stopper: Stopper


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """What a checkpoint holds: whose it is (two digests), where it stands, tensors (optimizer: by parameter)."""

    configuration: str
    patches: str
    position: Position
    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Tensor]]


def configuration_of(run: RunConfig, training: TrainingConfig, classes: Sequence[str]) -> str:
    """Digest of all that a run is, but for its patches."""
    return digest("run", run, training, list(classes))


def write_checkpoint(folder: Folder, saved: Saved) -> tuple[str, str, int]:
    """Write the file and return its name, SHA-256 and size in bytes.

    On return the file is on disk under its final name; killed before, it is not there at all.
    Raises CheckpointError where it cannot be written, and leaves no half of it behind.
    """
    tensors = {f"model.{name}": tensor.detach().cpu().contiguous() for name, tensor in saved.model.items()}
    for index, state in saved.optimizer.items():
        for name, tensor in state.items():
            tensors[f"optimizer.{index}.{name}"] = tensor.detach().cpu().contiguous()
    about = {"configuration": saved.configuration, "patches": saved.patches, "position": asdict(saved.position)}
    header = json.dumps(about, sort_keys=True)
    data = safetensors.torch.save(tensors, {"lesionlens": header})
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{saved.position.epoch:04d}-{sha256[:16]}{SUFFIX}"
    try:
        store.write(folder, name, data)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint of epoch {saved.position.epoch} ({len(data) / 1e6:.0f} MB) could not be written to "
            f"{folder}: {error}. Free disk space or move LESIONLENS_HOME or LESIONLENS_CHECKPOINTS, then run again"
        ) from error
    return name, sha256, len(data)


def read_checkpoint(folder: Folder, checkpoint: Checkpoint) -> Saved:
    """The file's content. Raises CheckpointError if it is missing or is not what the record says."""
    if checkpoint.path != Path(checkpoint.path).name:
        raise CheckpointError(f"checkpoint path {checkpoint.path!r} leaves its folder; a plain file name is expected")
    path = store.beneath(folder, checkpoint.path)
    try:
        data = store.read(folder, checkpoint.path)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != checkpoint.sha256:
        raise CheckpointError(f"checkpoint {path} is damaged: its SHA-256 is not the one in the record")
    tensors = safetensors.torch.load(data)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["lesionlens"])
    return _saved(header, tensors)


def _saved(header: dict[str, Any], tensors: dict[str, Tensor]) -> Saved:
    model: dict[str, Tensor] = {}
    optimizer: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, rest = key.split(".", 1)
        if kind == "model":
            model[rest] = tensor
        else:
            index, name = rest.split(".", 1)
            optimizer.setdefault(int(index), {})[name] = tensor
    position = header["position"]
    stopper = Stopper(**position["stopper"])
    reached = Position(position["phase"], position["epoch"], stopper)
    return Saved(header["configuration"], header["patches"], reached, model, optimizer)


def keep_only(folder: Folder, names: Iterable[str]) -> None:
    """Delete every other checkpoint of the folder, and what a killed write left."""
    kept = set(names)
    for name in store.names(folder):
        if name not in kept and name.endswith((SUFFIX, SUFFIX + store.TEMPORARY)):
            store.remove(folder, name)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """The optimiser's state by position of the parameter."""
    return {int(index): dict(state) for index, state in optimizer.state_dict()["state"].items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Tensor]]) -> None:
    """Put a stored state back; groups and rates stay as the configuration made them."""
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
    run: RunConfig, training: TrainingConfig, classes: Sequence[str], folder: Folder, checkpoint: Checkpoint
) -> Classifier:
    """The run's network as the checkpoint in `folder` holds it, on the CPU, in evaluation mode.

    Raises CheckpointError if the file is missing, is not what the record says, or belongs to another run.
    """
    saved = read_checkpoint(folder, checkpoint)
    if saved.configuration != configuration_of(run, training, classes):
        raise CheckpointError(f"checkpoint {checkpoint.path} in {folder} was not made by run {run.title}")
    model = build(run.backbone, len(classes), run.seed)
    model.load_state_dict(saved.model)
    return model.eval()
