"""Where a network's first weights come from: ImageNet files, or a seed."""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from urllib.request import Request, urlopen

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from lesionlens.config.training import Backbone, RunConfig, TrainingConfig
from lesionlens.errors import WeightsMissingError
from lesionlens.identity import bytes_digest
from lesionlens.models.backbones import network, trunk_state
from lesionlens.models.classifier import Classifier, together
from lesionlens.models.names import Fit, best_fit, unwrapped
from lesionlens.records import SampleArrays
from lesionlens.settings import settings

log = logging.getLogger(__name__)

CALIBRATION_SAMPLES = 512
CALIBRATION_BATCH = 32
MEASURED = 8
ANSWER_SECONDS = 3.0

Pixels = Callable[[Sequence[int]], Tensor]
"""Sample positions -> normalised pixels float32 [n, 3, s, s]."""
Start = Callable[[], Mapping[str, Tensor]]
"""Reads the state dict of the classifier that a run begins with."""


def initial_model(
    run: RunConfig,
    training: TrainingConfig,
    classes: int,
    pixels: Pixels,
    training_rows: Sequence[int],
    start: Start | None = None,
) -> Classifier:
    """The network before training, in evaluation mode on the CPU.

    Pretrained weights: blocks from the file, head from the run's seed. Weights none: everything from the seed,
    batch-norm statistics measured on the training samples at `training_rows`. With `training.start`, stem, unit2 and
    unit1 are those of `start`, statistics included.
    Raises WeightsMissingError where the file is not to be had, ValueError where it does not fit or `start` is missing.
    """
    if training.start is not None:
        if start is None:
            raise ValueError(f"run {run.title} begins with another run's weights, which are not given")
        model = network(run, training, classes)
        begun = {name: tensor for name, tensor in start().items() if name.split(".")[0] in ("stem", "unit2", "unit1")}
        model.load_state_dict(model.state_dict() | begun)
    elif training.weights != "none":
        model = network(run, training, classes, load_weights(run.backbone, training.weights))
    else:
        model = network(run, training, classes).to(memory_format=torch.channels_last)  # twice as fast on a CPU
        calibrate(model, pixels, training_rows, run.seed)
    if training.head == "centred" and run.system == "classifier":
        centre(model.head)
    return model


def centre(head: nn.Linear) -> None:
    """Take from every class's weights and bias their mean over the classes: differences of logits stay."""
    with torch.no_grad():
        head.weight.sub_(head.weight.mean(dim=0))
        head.bias.sub_(head.bias.mean())


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
        size = together(CALIBRATION_BATCH, pixels(list(rows[:1])).shape) if len(rows) else CALIBRATION_BATCH
        for batch in torch.split(drawn, size):
            if len(batch) > 1 or len(drawn) == 1:
                given = pixels([rows[int(i)] for i in batch]).to(device)
                model.to_level("pooled", given) if isinstance(model, Classifier) else model(given)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def measured_on(samples: SampleArrays) -> list[int]:
    """Positions of about 8 samples on which a network with random weights is calibrated: of the training split, of all
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
    """A state dict with torchvision's names: ImageNet's, downloaded where it is not on this machine, or an own file's.

    The SHA-256 of ImageNet's must start with the digits at the end of its name, that of an own file be the one after
    the @ in `weights`; only tensors are read. Raises WeightsMissingError, which says what to do.
    """
    if weights != "imagenet":
        return own_weights(backbone, weights).state
    fetch_weights([backbone], weights)
    path = _find(Path(imagenet_url(backbone)).name)
    assert path is not None  # it was just found or downloaded
    found = _digest_of(path)
    if not found.startswith(_expected_digest(path.name)):
        raise WeightsMissingError(f"{path} is damaged: its SHA-256 starts with {found[:8]}. Fetch it again")
    return _tensors(path)


def fetch_weights(backbones: Sequence[Backbone], weights: str) -> None:
    """Find the weights of these backbones, or download ImageNet's into torch's hub folder.

    ImageNet's are looked for in the folder `LESIONLENS_WEIGHTS`, then in the hub folder (`TORCH_HOME`). Raises one
    WeightsMissingError that names every file that is not to be had, and where to put it, or why an own file does not
    fit a backbone.
    """
    if weights == "imagenet":
        _download(backbones)
        return
    for backbone in backbones:
        log.info("%s for %s: %s", weights, backbone, own_weights(backbone, weights))


def own_weights(backbone: Backbone, weights: str) -> Fit:
    """How an own file fits a backbone, all but the head of which it must fill. weights: its path, with @ and its
    SHA-256 once that is known.

    Raises WeightsMissingError where the file is missing, has changed, holds more than tensors, or lacks some.
    """
    path, digest = _own_file(weights)
    found = _digest_of(path)
    if digest and found != digest:
        raise WeightsMissingError(
            f"{path} has changed: its SHA-256 begins with {found[:8]}, not {digest[:8]}; restore it"
        )
    wanted = trunk_state(backbone)
    fit = best_fit(_tensors(path), wanted, backbone)
    if fit.missing or fit.shapes:
        raise WeightsMissingError(
            f"{path} does not fit {backbone}: of {len(wanted)} tensors {fit}. Name the file of this backbone, or leave "
            "the others out of the grid (grid.backbones)"
        )
    return fit


def with_digest(weights: str) -> str:
    """An own file's path with @ and its SHA-256, by which a study records it; other words as they are.

    Raises WeightsMissingError where there is no such file.
    """
    if weights in ("imagenet", "none"):
        return weights
    path, digest = _own_file(weights)
    return f"{path}@{digest or _digest_of(path)}"


def _own_file(weights: str) -> tuple[Path, str]:
    found = re.fullmatch(r"(.+)@([0-9a-f]{64})", weights)
    path, digest = (Path(found[1]), found[2]) if found else (Path(weights), "")
    if not path.is_file():
        raise WeightsMissingError(f"training.weights: {path} is {'a folder' if path.is_dir() else 'not there'}")
    return path, digest


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensors(path: Path) -> dict[str, Tensor]:
    """The state dict that a file holds, on the CPU."""
    try:
        if path.suffix == ".safetensors":
            return unwrapped(load_file(path))
        return unwrapped(torch.load(path, map_location="cpu", weights_only=True))
    except UnpicklingError as error:
        raise WeightsMissingError(
            f"{path} holds more than tensors and is not loaded: save model.state_dict(), or as safetensors"
        ) from error
    except (SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise WeightsMissingError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error


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
