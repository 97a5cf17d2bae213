"""Where a network's first weights come from: ImageNet files, or a seed."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError
from urllib.request import Request, urlopen

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models

from lesionlens.config.training import Backbone, RunConfig, TrainingConfig
from lesionlens.errors import WeightsMissingError
from lesionlens.identity import bytes_digest
from lesionlens.models.classifier import Classifier
from lesionlens.models.registry import build
from lesionlens.records import SampleArrays
from lesionlens.settings import settings

CALIBRATION_SAMPLES = 512
CALIBRATION_BATCH = 32
MEASURED = 16
ANSWER_SECONDS = 3.0

Pixels = Callable[[Sequence[int]], Tensor]
"""Sample positions -> normalised pixels float32 [n, 3, s, s]."""


def initial_model(
    run: RunConfig, training: TrainingConfig, classes: int, pixels: Pixels, training_rows: Sequence[int]
) -> Classifier:
    """The network before training, in evaluation mode on the CPU.

    Pretrained weights: blocks from the file, head from the run's seed. Weights none: everything from the seed,
    batch-norm statistics measured on the training samples at `training_rows`.
    Raises WeightsMissingError where the file is not to be had, ValueError where it does not fit.
    """
    if training.weights != "none":
        return build(run.backbone, classes, run.seed, load_weights(run.backbone, training.weights))
    model = build(run.backbone, classes, run.seed).to(memory_format=torch.channels_last)  # twice as fast on a CPU
    calibrate(model, pixels, training_rows, run.seed)
    return model


def calibrate(model: nn.Module, pixels: Pixels, rows: Sequence[int], seed: int) -> None:
    """Measure the running statistics of every batch normalisation on at most 512 samples, drawn by `seed`.

    With the statistics of a new network (mean 0, variance 1) the output of a random network in evaluation mode dies or
    explodes layer by layer. The measured ones are the plain average over batches of 32. No-op without batch
    normalisation.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the average over all batches, not an exponential one
        layer.train()
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:CALIBRATION_SAMPLES]
    device = next(model.parameters()).device
    with torch.no_grad():
        for batch in torch.split(drawn, CALIBRATION_BATCH):
            if len(batch) > 1 or len(drawn) == 1:
                given = pixels([rows[int(i)] for i in batch]).to(device)
                model.to_level("pooled", given) if isinstance(model, Classifier) else model(given)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def measured_on(samples: SampleArrays) -> list[int]:
    """Positions of about 16 samples on which a network with random weights is calibrated: of the training split, of all
    where there is none."""
    rows = (
        np.flatnonzero(samples.splits == "train") if (samples.splits == "train").any() else np.arange(len(samples.ids))
    )
    return [int(row) for row in rows[:: max(1, len(rows) // MEASURED)][:MEASURED]]


def imagenet_url(backbone: Backbone) -> str:
    """Where torchvision publishes its first ImageNet weights (V1) of that backbone."""
    url: str = models.get_model_weights(backbone)["IMAGENET1K_V1"].url
    return url


def load_weights(backbone: Backbone, weights: str) -> dict[str, Tensor]:
    """A state dict with torchvision's names: ImageNet's, downloaded where it is not on this machine, or an own file.

    The file's SHA-256 must start with the digits at the end of its name; only tensors are read.
    Raises WeightsMissingError, which names the file and where to put it.
    """
    fetch_weights([backbone], weights)
    path = _find(_file_name(backbone, weights))
    assert path is not None  # it was just found or downloaded
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(_expected_digest(path.name)):
        raise WeightsMissingError(f"{path} is damaged: its SHA-256 starts with {found[:8]}. Fetch it again")
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise WeightsMissingError(f"{path} holds more than tensors and is not loaded. Fetch it again") from error
    return state


def fetch_weights(backbones: Sequence[Backbone], weights: str) -> None:
    """Find the weights of these backbones, or download ImageNet's into torch's hub folder.

    Looked for in the folder `LESIONLENS_WEIGHTS`, then in the hub folder (`TORCH_HOME`).
    Raises one WeightsMissingError that names every file that is not to be had, and where to put it, or the backbones
    that an own file is not made for.
    """
    if weights == "imagenet":
        _download(backbones)
        return
    others = [name for name in backbones if name != weights.rpartition("-")[0]]
    if others:
        raise WeightsMissingError(
            f"weights {weights!r} are those of one backbone, not of {', '.join(others)}: leave these out of the grid "
            "(grid.backbones), or choose weights 'imagenet' or 'none'"
        )
    if _find(f"{weights}.pth") is None:
        raise WeightsMissingError(
            f"{weights}.pth is not on this machine: put it into the folder that LESIONLENS_WEIGHTS names (now "
            f"{settings().weights or 'not set'}) or into {_hub()}"
        )


def absent(backbones: Sequence[Backbone], weights: str) -> list[str]:
    """What keeps these weights from being had, without a download: each a sentence; none where all are there.

    Files of ImageNet's that are missing here count where their server does not answer within seconds.
    """
    if weights == "none":
        return []
    if weights != "imagenet":
        try:
            fetch_weights(backbones, weights)
        except WeightsMissingError as error:
            return [str(error)]
        return []
    missing = [url for url in map(imagenet_url, backbones) if _find(Path(url).name) is None]
    if not missing:
        return []
    try:
        with urlopen(Request(missing[0], method="HEAD"), timeout=ANSWER_SECONDS):
            return []
    except OSError as error:
        return [_not_here(missing, error)]


def _download(backbones: Sequence[Backbone]) -> None:
    missing, hub, reason = [], _hub(), None
    for url in map(imagenet_url, backbones):
        name = Path(url).name
        if _find(name) is not None:
            continue
        try:
            hub.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(hub / name), _expected_digest(name), progress=False)
        except (OSError, RuntimeError) as error:
            missing.append(url)
            reason = error
    if missing:
        raise WeightsMissingError(_not_here(missing, reason)) from reason


def _not_here(missing: Sequence[str], reason: Exception | None) -> str:
    return (
        f"ImageNet weights {', '.join(Path(url).name for url in missing)} are not on this machine and could not be "
        f"downloaded ({reason}). Fetch them elsewhere from {missing[0].rsplit('/', 1)[0]}/ and put them into the "
        f"folder that LESIONLENS_WEIGHTS names (now {settings().weights or 'not set'}) or into "
        f"{_hub()}; or choose weights 'none'"
    )


def _hub() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _file_name(backbone: Backbone, weights: str) -> str:
    return Path(imagenet_url(backbone)).name if weights == "imagenet" else f"{weights}.pth"


def _find(name: str) -> Path | None:
    """Where the file of that name lies on this machine."""
    named = settings().weights
    folders = [_hub()] if named is None else [named, _hub()]
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def _expected_digest(file_name: str) -> str:
    """The start of the SHA-256 that torchvision puts at the end of a file's name."""
    return Path(file_name).stem.rsplit("-", 1)[1]


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
