"""Feature cache: what frozen blocks make of every sample, computed once and shared by all runs.

One .npy file per level, memory-mapped. Its name is a digest of all that its values depend on and the start of its
SHA-256, so it is never stale, and a damaged one is built again. The folder may be deleted at any time.
"""

import copy
import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from lesionlens.errors import TrainingError
from lesionlens.identity import digest
from lesionlens.models.arithmetic import float32
from lesionlens.models.classifier import Classifier, Level, together
from lesionlens.models.weights import state_digest
from lesionlens.training.inputs import Inputs

BUILD_BATCH = 16
DEPTH: tuple[Level, ...] = ("stem", "unit2", "unit1", "pooled")
LIMIT_BYTES = 64 * 2**30
"""Bound of the folder; only what one run is using may exceed it."""
VARIANTS_BYTES = 8 * 2**30
"""Bound of the features of one sample set with variants; above it frozen blocks run in every step."""
ABANDONED_SECONDS = 3600
"""A temporary file not written to for so long was left by a killed process."""

log = logging.getLogger(__name__)

_digests: dict[tuple[int, int, int, int], str] = {}
"""Digests of files that this process has read: by device, inode, size and time of the last change."""


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A level's values float32 [samples, c, h, w] of all samples."""

    level: Level
    features: Tensor


class FeatureCache:
    """Features of one sample set, in the folder `features` of `folder`."""

    def __init__(self, folder: Path, inputs: Inputs) -> None:
        self.folder = folder / "features"
        self.inputs = inputs
        self._inputs_digest = inputs.digest()

    def key(self, model: Classifier, level: Level) -> str:
        """Digest of the normalised pixels, backbone, weights up to the level, and what decides the rounding: batch,
        kind of device, versions of torch and torchvision.
        """
        weights = state_digest(model.between("pixels", level))
        how = [BUILD_BATCH, self.inputs.device.type, str(torch.__version__), str(torchvision.__version__)]
        return digest("features", self._inputs_digest, model.backbone, weights, level, how)

    def bounded(self, model: Classifier, levels: Collection[Level], title: str) -> "FeatureCache | None":
        """The cache; None, and a warning, where all samples and variants at these levels exceed VARIANTS_BYTES."""
        with torch.no_grad():
            one = _features(copy.deepcopy(model).eval(), self.inputs([0]), levels)
        size = len(self.inputs) * sum(values.nbytes for values in one.values())
        if size <= VARIANTS_BYTES:
            return self
        log.warning(
            "%s: features of all variants would take %.1f GB, more than %.1f, so every layer runs in every step",
            title, size / 1e9, VARIANTS_BYTES / 1e9,
        )  # fmt: skip
        return None

    def known(self, model: Classifier, level: Level) -> Tensor | None:
        """Features of that level, if they are stored."""
        return self._find(self.key(model, level))

    def deepest(self, model: Classifier) -> Stored:
        """What evaluations begin with: unit2's output where a run that trains less has left it, else the stem's."""
        found = self.known(model, "unit2")
        return Stored("stem", self.get(model, ("stem",))["stem"]) if found is None else Stored("unit2", found)

    def get(self, model: Classifier, levels: Sequence[Level]) -> dict[Level, Tensor]:
        """Features float32 [samples, ...] by level, memory-mapped; images lie channels last.

        What is missing or damaged is built in one pass over the samples, in evaluation mode, from the deepest level
        stored before it. Two processes that want the same build it once. Raises TrainingError where the disk has no
        room.
        """
        keys = {level: self.key(model, level) for level in levels}
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{self.key(model, 'stem')}.lock"):
            found = {level: features for level, key in keys.items() if (features := self._find(key)) is not None}
            missing = {level: key for level, key in keys.items() if level not in found}
            return found | self._build(model, missing, set(keys.values())) if missing else found

    def _find(self, key: str) -> Tensor | None:
        """The features of that key, if their file is there and undamaged."""
        for path in self.folder.glob(f"{key}-*.npy"):
            with suppress(FileNotFoundError):  # another process may delete it to make room
                if path.stem.endswith(_content_digest(path)):
                    # The access time is that of the last use; set here because file systems rarely keep it.
                    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
                    return _mapped(path)
                path.unlink()
        return None

    def _build(self, model: Classifier, keys: dict[Level, str], kept: set[str]) -> dict[Level, Tensor]:
        """Write and map the files of these levels; files of the keys in `kept` are not deleted to make room."""
        # A copy, so that layout and mode are the same whoever asks, and the caller's model keeps its own.
        frozen = copy.deepcopy(model).eval().to(memory_format=torch.channels_last)
        before, given = self._begin(model, keys)
        count, half_written = len(self.inputs), {level: self.folder / f"{key}.tmp" for level, key in keys.items()}
        try:
            with ExitStack() as stack, torch.no_grad(), float32():
                files = {level: stack.enter_context(path.open("wb")) for level, path in half_written.items()}
                for rows in torch.split(torch.arange(count), together(BUILD_BATCH, self.inputs.patches.pixels.shape)):
                    x = self.inputs(rows) if given is None else given[rows].to(self.inputs.device)
                    features = _features(frozen, x, keys, before)
                    if rows[0] == 0:
                        self._make_room(count * sum(values[0].nbytes for values in features.values()), kept)
                        for level, values in features.items():
                            header = {"descr": "<f4", "fortran_order": False, "shape": (count, *values.shape[1:])}
                            np.lib.format.write_array_header_1_0(files[level], header)
                    for level, values in features.items():
                        files[level].write(values.data)
            # No fsync: after a power failure the digest does not fit, and the file is built again.
            return {
                level: _mapped(path.replace(self.folder / f"{keys[level]}-{_content_digest(path)}.npy"))
                for level, path in half_written.items()
            }
        except OSError as error:
            raise TrainingError(
                f"the feature cache {self.folder} cannot be written: {error}. Free disk space, empty the cache (it is "
                "rebuilt as needed) or move LESIONLENS_HOME, then run again"
            ) from error
        finally:
            for path in half_written.values():
                path.unlink(missing_ok=True)

    def _begin(self, model: Classifier, levels: Collection[Level]) -> tuple[Level, Tensor | None]:
        """The deepest level before all of these that is stored, and its features; without any, the pixels."""
        for level in reversed(DEPTH[: min(DEPTH.index(level) for level in levels)]):
            found = self.known(model, level)
            if found is not None:
                return level, found
        return "pixels", None

    def _make_room(self, needed: int, kept: set[str]) -> None:
        """Delete files, the least recently used first, until `needed` bytes fit under the bound and on the disk.

        A process that has mapped a deleted file goes on reading it. Raises OSError where the disk is too full.
        """
        files = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another process may delete the same file
                files.append((path.stat(), path))
        room = min(LIMIT_BYTES - sum(status.st_size for status, _ in files), shutil.disk_usage(self.folder).free)
        abandoned = time.time() - ABANDONED_SECONDS
        for status, path in sorted(files, key=lambda file: file[0].st_atime_ns):
            unused = path.suffix == ".npy" or (path.suffix == ".tmp" and status.st_mtime < abandoned)
            if room < needed and unused and path.stem.split("-")[0] not in kept:
                path.unlink(missing_ok=True)
                room += status.st_size
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")


def _features(
    frozen: Classifier, x: Tensor, levels: Collection[Level], before: Level = "pixels"
) -> dict[Level, NDArray[np.float32]]:
    """The levels' values as they are stored: [n, rows, columns, channels], or [n, channels] for pooled.

    x: values of the level `before`.
    """
    found: dict[Level, NDArray[np.float32]] = {}
    for level in DEPTH:
        if level in levels:
            for module in frozen.between(before, level):
                x = module(x)
            before = level
            lying = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
            found[level] = lying.cpu().contiguous().numpy()
    return found


def _mapped(path: Path) -> Tensor:
    features = torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: torch warns of read-only memory
    return features.permute(0, 3, 1, 2) if features.dim() == 4 else features


def _content_digest(path: Path) -> str:
    """The first 16 hex digits of the file's SHA-256."""
    status = path.stat()
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if identity not in _digests:
        with path.open("rb") as file:
            _digests[identity] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return _digests[identity]
