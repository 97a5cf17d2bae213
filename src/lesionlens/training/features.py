"""The frozen-stem cache: what frozen stages make of every patch, computed once, shared by all runs.

Files are safetensors with one tensor `features` [patches, ...], memory-mapped on reading. The name is a digest
of everything the values depend on, so a file is never stale; its header carries the SHA-256 of its data, so
a damaged one is noticed and rebuilt. The folder may be deleted at any time.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lesionlens.config import TrainingConfig
from lesionlens.identity import digest
from lesionlens.training.backbones import Classifier, Level, stages_between
from lesionlens.training.epochs import Source
from lesionlens.training.errors import TrainingError
from lesionlens.training.inputs import Inputs
from lesionlens.training.weights import state_digest

BUILD_BATCH = 16
LIMIT_BYTES = 64 * 2**30
TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


class FeatureCache:
    """Frozen features of one patch set in one folder."""

    def __init__(self, folder: Path, inputs: Inputs, training: TrainingConfig) -> None:
        self.folder = folder / "features"
        self.inputs = inputs
        self.dtype = training.feature_dtype
        self._source = inputs.digest()

    def key(self, model: Classifier, level: Level) -> str:
        """Digest of patches, normalisation, weights up to the level, storage type, device kind and torch."""
        weights = state_digest(stages_between(model, "pixels", level))
        where = [self.inputs.device.type, str(torch.__version__), BUILD_BATCH]
        return digest("features", self._source, level, weights, self.dtype, where)

    def get(self, model: Classifier, levels: Sequence[Level]) -> dict[Level, Tensor]:
        """Features [patches, ...] in the storage type, memory-mapped; missing or damaged ones are built.

        The model must be in evaluation mode up to the deepest level. Levels are built in one pass over
        the patches. Two processes that want the same build it once.
        Raises TrainingError where the disk has no room.
        """
        names = {level: self.key(model, level) for level in levels}
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / f"{self.key(model, 'stem')}.lock"):
            found = {level: self._read(name) for level, name in names.items()}
            missing: list[Level] = [level for level in levels if found[level] is None]
            if missing:
                self._build(model, {level: names[level] for level in missing})
                found.update({level: self._read(names[level]) for level in missing})
                self._evict(set(names.values()))
        built = {level: tensor for level, tensor in found.items() if tensor is not None}
        if len(built) < len(names):
            raise TrainingError(f"features written to {self.folder} cannot be read back: the disk may be failing")
        return built

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _read(self, name: str) -> Tensor | None:
        """The tensor, or None if the file is missing or damaged."""
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                stored = file.metadata()["sha256"]
                features: Tensor = file.get_tensor("features")
        except (SafetensorError, KeyError, TypeError):
            return None
        if _data_digest(path) != stored:
            return None
        os.utime(path)
        return features

    def _build(self, model: Classifier, names: dict[Level, str]) -> None:
        count = len(self.inputs)
        ordered: list[Level] = [level for level in ("stem", "unit2", "pooled") if level in names]
        with ExitStack() as stack, torch.no_grad():
            writers: dict[Level, _Writer] = {}
            for start in range(0, count, BUILD_BATCH):
                x = self.inputs(range(start, min(start + BUILD_BATCH, count)))
                before: Level = "pixels"
                for level in ordered:
                    for stage in stages_between(model, before, level):
                        x = stage(x)
                    before = level
                    if level not in writers:
                        shape = (count, *x.shape[1:])
                        writers[level] = stack.enter_context(_writing(self._path(names[level]), shape, self.dtype))
                    writers[level].add(x)

    def _evict(self, used: set[str]) -> None:
        """Delete the least recently used files until the folder is within its bound."""
        files = sorted(self.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total > LIMIT_BYTES and path.stem not in used:
                total -= path.stat().st_size
                path.unlink(missing_ok=True)


def on_device(stored: Tensor, device: torch.device) -> Source:
    """Rows of stored features, float32 on the device; on a GPU all of them stay there if half its memory allows."""
    if device.type == "cuda" and stored.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        stored = stored.to(device)
    return lambda rows: stored[rows.to(stored.device)].to(device, torch.float32)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock; the system releases it when its holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _data_digest(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Writer:
    """Streams a safetensors file whose digest is known only at its end."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], dtype: str) -> None:
        self.file = file
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.sha = hashlib.sha256()
        size = torch.Size(shape).numel() * self.dtype.itemsize
        self.entry = {"dtype": TYPES[dtype], "shape": list(shape), "data_offsets": [0, size]}
        self.size = size
        self._header("0" * 64)

    def _header(self, sha256: str) -> None:
        header = json.dumps({"__metadata__": {"sha256": sha256}, "features": self.entry}).encode()
        header += b" " * (-len(header) % 8)
        self.file.seek(0)
        self.file.write(len(header).to_bytes(8, "little") + header)

    def add(self, batch: Tensor) -> None:
        data = batch.to("cpu", self.dtype).contiguous().view(torch.uint8).numpy().tobytes()
        self.sha.update(data)
        self.file.write(data)

    def finish(self) -> None:
        self._header(self.sha.hexdigest())
        self.file.flush()
        os.fsync(self.file.fileno())


@contextmanager
def _writing(path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[_Writer]:
    """A writer whose file appears under its name only when whole. The caller holds the lock."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            writer = _Writer(file, shape, dtype)
            free = shutil.disk_usage(path.parent).free
            if writer.size > free:
                raise OSError(f"{writer.size / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")
            yield writer
            writer.finish()
        temporary.replace(path)
    except OSError as error:
        raise TrainingError(
            f"the feature cache {path.parent} cannot be written: {error}. Free disk space, empty the cache "
            "(it is rebuilt as needed) or move LESIONLENS_HOME, then run again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
