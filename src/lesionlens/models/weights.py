"""Where a network's first weights come from: ImageNet files, or a seed."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from lesionlens.config import RunConfig, TrainingConfig
from lesionlens.errors import WeightsMissingError
from lesionlens.identity import bytes_digest
from lesionlens.models.backbones import BACKBONES, Classifier, build
from lesionlens.settings import settings

ORIGIN = "https://download.pytorch.org/models/"
CALIBRATION_PATCHES = 512
CALIBRATION_BATCH = 32

Pixels = Callable[[Sequence[int]], Tensor]
"""Patch positions -> normalised pixels float32 [n, 3, s, s]."""


def initial_model(
    run: RunConfig, training: TrainingConfig, classes: int, pixels: Pixels, training_rows: Sequence[int]
) -> Classifier:
    """The network before training, in evaluation mode on the CPU.

    Weights imagenet: pretrained stages, head from the run's seed. Weights none: everything from the seed,
    batch-norm statistics measured on the training patches at `training_rows`.
    Raises WeightsMissingError where the ImageNet file cannot be had.
    """
    if training.weights == "imagenet":
        return build(run.backbone, classes, run.seed, load_imagenet(BACKBONES[run.backbone].weights))
    model = build(run.backbone, classes, run.seed)
    calibrate(model, pixels, training_rows, run.seed)
    return model


def calibrate(model: Classifier, pixels: Pixels, rows: Sequence[int], seed: int) -> None:
    """Measure the running statistics of every batch normalisation on at most 512 patches, drawn by `seed`.

    A random network in evaluation mode has statistics of nothing (mean 0, variance 1) and its output dies or
    explodes layer by layer. The statistics are the plain average over batches of 32. No-op without them.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the average over all batches, not an exponential one
        layer.train()
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:CALIBRATION_PATCHES]
    device = next(model.parameters()).device
    with torch.no_grad():
        for batch in torch.split(drawn, CALIBRATION_BATCH):
            if len(batch) > 1 or len(drawn) == 1:
                model.to_level("pooled", pixels([rows[int(i)] for i in batch]).to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def load_imagenet(file_name: str) -> dict[str, Tensor]:
    """The state dict in torchvision's weights file, downloaded where it is not on this machine.

    A file must match the digest in its name; only tensors are read.
    Raises WeightsMissingError, which names the file and where to put it.
    """
    fetch_imagenet([file_name])
    path = _find(file_name)
    assert path is not None  # it was just found or downloaded
    return _read(path)


def fetch_imagenet(file_names: Sequence[str]) -> None:
    """Have all of these weights files on this machine: those in no folder are downloaded into torch's hub folder.

    Looked for in the folder `LESIONLENS_WEIGHTS`, then in the hub folder (`TORCH_HOME`).
    Raises one WeightsMissingError that names every file that cannot be had, and where to put it.
    """
    missing, hub, reason = [], _hub(), None
    for name in file_names:
        if _find(name) is not None:
            continue
        try:
            hub.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(ORIGIN + name, str(hub / name), _digest_of(name), progress=False)
        except (OSError, RuntimeError) as error:
            missing.append(name)
            reason = error
    if missing:
        raise WeightsMissingError(
            f"ImageNet weights {', '.join(missing)} are not on this machine and could not be downloaded ({reason}). "
            f"Fetch them elsewhere from {ORIGIN} and put them into the folder that LESIONLENS_WEIGHTS names "
            f"(now {settings().weights or 'not set'}) or into {hub}; or choose weights 'none'"
        ) from reason


def _hub() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _find(file_name: str) -> Path | None:
    """Where the file lies on this machine."""
    named = settings().weights
    folders = [_hub()] if named is None else [named, _hub()]
    return next((folder / file_name for folder in folders if (folder / file_name).is_file()), None)


def _digest_of(file_name: str) -> str:
    """The start of the SHA-256 that torchvision puts at the end of a file's name."""
    return file_name.rsplit("-", 1)[1].removesuffix(".pth")


def _read(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(_digest_of(path.name)):
        raise WeightsMissingError(f"{path} is damaged: its SHA-256 starts with {found[:8]}. Fetch it again")
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise WeightsMissingError(f"{path} holds more than tensors and is not loaded. Fetch it again") from error
    return state


def state_digest(modules: Sequence[nn.Module]) -> str:
    """SHA-256 (64 hex characters) of the modules' parameters and buffers, names included."""
    return bytes_digest(
        chunk
        for i, module in enumerate(modules)
        for name, tensor in sorted(module.state_dict().items())
        for chunk in (
            f"{i}.{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode(),
            tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(),
        )
    )
