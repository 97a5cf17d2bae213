"""The frozen-stem cache: what frozen stages make of every patch, computed once, shared by all runs.

The name of a file is a digest of everything its values depend on, so a file is never stale; a damaged one is
noticed and rebuilt. The folder may be deleted at any time.
"""

import copy
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from lesionlens.config import TrainingConfig
from lesionlens.errors import TrainingError
from lesionlens.identity import digest
from lesionlens.models.backbones import Classifier, Level, stages_between
from lesionlens.models.weights import state_digest
from lesionlens.training import feature_files as files
from lesionlens.training.inputs import Inputs

BUILD_BATCH = 16
LIMIT_BYTES = 64 * 2**30
"""Bound of the folder; only what one run is using may exceed it."""


class FeatureCache:
    """Frozen features of one sample set in one folder."""

    def __init__(self, folder: Path, inputs: Inputs, training: TrainingConfig) -> None:
        self.folder = folder / "features"
        self.inputs = inputs
        self.dtype = "float32" if training.exact else training.feature_dtype
        self.exact = training.exact
        self._source = inputs.digest()

    def key(self, model: Classifier, level: Level) -> str:
        """Digest of patches, their size and normalisation, backbone, weights up to the level, level, and how it is
        computed and stored: type, order of axes, batch, kind of device, versions of torch and torchvision.
        """
        weights = state_digest(stages_between(model, "pixels", level))
        how = [self.dtype, self.exact, BUILD_BATCH, self.inputs.device.type]
        libraries = [str(torch.__version__), str(torchvision.__version__)]
        return digest("features", self._source, model.backbone, weights, level, how, libraries)

    def get(self, model: Classifier, levels: Sequence[Level]) -> dict[Level, Tensor]:
        """Features [patches, ...] in the storage type, memory-mapped; missing or damaged ones are built.

        Levels are built in one pass over the patches, in evaluation mode. Two processes that want the same build
        it once. Raises TrainingError where the disk has no room.
        """
        names = {level: self.key(model, level) for level in levels}
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / f"{self.key(model, 'stem')}.lock"):
            found = {level: files.read(self._path(name)) for level, name in names.items()}
            missing: list[Level] = [level for level in levels if found[level] is None]
            if missing:
                self._build(model, {level: names[level] for level in missing}, set(names.values()))
                found.update({level: files.read(self._path(names[level])) for level in missing})
        built = {level: tensor for level, tensor in found.items() if tensor is not None}
        if len(built) < len(names):
            raise TrainingError(f"features written to {self.folder} cannot be read back: the disk may be failing")
        return built

    def bytes(self) -> int:
        """Size of all files of the folder."""
        return sum(path.stat().st_size for path in self.folder.glob(f"*{files.SUFFIX}"))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{files.SUFFIX}"

    def _build(self, model: Classifier, names: dict[Level, str], kept: set[str]) -> None:
        ordered: list[Level] = [level for level in ("stem", "unit2", "pooled") if level in names]
        # A copy, so that layout and mode are the same whoever asks, and the caller's model keeps its own.
        frozen = copy.deepcopy(model).eval()
        frozen.to(memory_format=torch.contiguous_format if self.exact else torch.channels_last)
        count = len(self.inputs)
        with ExitStack() as stack, torch.no_grad():
            writers: dict[Level, files.Writer] = {}
            for start in range(0, count, BUILD_BATCH):
                rows = list(range(start, min(start + BUILD_BATCH, count)))
                x = self.inputs(whole_batches(rows) if self.exact else rows)
                before: Level = "pixels"
                for level in ordered:
                    for stage in stages_between(frozen, before, level):
                        x = stage(x)
                    before = level
                    if level not in writers:
                        path, shape = self._path(names[level]), (count, *x.shape[1:])
                        opened = files.writing(path, shape, self.dtype, not self.exact, kept, LIMIT_BYTES)
                        writers[level] = stack.enter_context(opened)
                    writers[level].add(x[: len(rows)])


def whole_batches(rows: list[int]) -> list[int]:
    """The rows, the last repeated until they fill build batches: how a layer computes may depend on batch size."""
    return rows + rows[-1:] * (-len(rows) % BUILD_BATCH)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock; the system releases it when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
