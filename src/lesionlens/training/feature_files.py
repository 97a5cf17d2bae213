"""Files of the feature cache: written whole or not at all, checked when read, the least recently used deleted.

A file is safetensors with one tensor `features` [patches, ...], memory-mapped on reading. Its header carries the
SHA-256 of its data and the order of its axes. An image-like tensor lies in the file either as [patches, channels,
rows, columns] or, `last`, as [patches, rows, columns, channels], in which trained layers are faster; it is handed
out as the former in both cases.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lesionlens.errors import TrainingError

TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
SUFFIX = ".safetensors"
TEMPORARY = ".tmp"
MOST_HEADER = 512
"""No header takes more bytes."""
ABANDONED_SECONDS = 3600
"""A temporary file that nobody has written to for so long was left by a killed process."""

_checked: set[tuple[str, int, int, int]] = set()
"""Files whose digest this process has compared: path, inode, size, time of the last change."""


def read(path: Path) -> Tensor | None:
    """Features [patches, ...] in the stored type, memory-mapped; None if the file is missing or damaged.

    The digest of a file is compared once per process, and again when the file has changed.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            features: Tensor = file.get_tensor("features")
        status = path.stat()
        identity = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
        if identity not in _checked:
            if _data_digest(path) != about["sha256"]:
                return None
            _checked.add(identity)
        # The access time says when a file was last used; set here because file systems rarely keep it.
        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
    except (SafetensorError, KeyError, TypeError, OSError):
        return None
    return features.permute(0, 3, 1, 2) if about.get("channels") == "last" else features


def _data_digest(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


class Writer:
    """Streams a safetensors file whose digest is known only at its end. Its whole size is reserved at once."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], dtype: str, last: bool) -> None:
        self.file = file
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.last = last and len(shape) == 4
        if self.last:
            shape = (shape[0], *shape[2:], shape[1])
        self.sha = hashlib.sha256()
        size = torch.Size(shape).numel() * self.dtype.itemsize
        self.entry = {"dtype": TYPES[dtype], "shape": list(shape), "data_offsets": [0, size]}
        self._header("0" * 64)
        os.posix_fallocate(file.fileno(), 0, file.tell() + size)

    def _header(self, sha256: str) -> None:
        about = {"sha256": sha256, "channels": "last" if self.last else "first"}
        header = json.dumps({"__metadata__": about, "features": self.entry}).encode()
        header += b" " * (-len(header) % 8)
        self.file.seek(0)
        self.file.write(len(header).to_bytes(8, "little") + header)

    def add(self, batch: Tensor) -> None:
        """The next patches [n, ...]."""
        placed = batch.permute(0, 2, 3, 1) if self.last else batch
        data = placed.to("cpu", self.dtype).contiguous().view(torch.uint8).numpy()
        self.sha.update(data.data)
        self.file.write(data.data)

    def finish(self) -> None:
        """Put the digest into the header and the file on disk."""
        self._header(self.sha.hexdigest())
        self.file.flush()
        os.fsync(self.file.fileno())


@contextmanager
def writing(path: Path, shape: tuple[int, ...], dtype: str, last: bool, kept: set[str], limit: int) -> Iterator[Writer]:
    """A writer whose file appears under its name only when whole.

    Where the folder would exceed `limit` bytes, or its disk is full, the least recently used files go first, but
    none whose stem is in `kept`. Raises TrainingError where the disk has no room even so.
    """
    temporary = path.with_suffix(TEMPORARY)
    size = torch.Size(shape).numel() * getattr(torch, dtype).itemsize + MOST_HEADER
    try:
        evict(path.parent, max(limit - size, 0), kept)
        with temporary.open("wb") as file:
            writer = _reserved(file, path.parent, shape, dtype, last, kept)
            yield writer
            writer.finish()
        temporary.replace(path)
    except OSError as error:
        raise TrainingError(
            f"the feature cache {path.parent} cannot be written ({size / 1e6:.0f} MB are needed): {error}. Free disk "
            "space, empty the cache (it is rebuilt as needed) or move LESIONLENS_HOME, then run again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _reserved(file: BinaryIO, folder: Path, shape: tuple[int, ...], dtype: str, last: bool, kept: set[str]) -> Writer:
    """A writer with its room on disk; files that are not in use make way one by one."""
    while True:
        try:
            return Writer(file, shape, dtype, last)
        except OSError as error:
            if error.errno != errno.ENOSPC or not evict(folder, 0, kept, most=1):
                raise


def evict(folder: Path, limit: int, kept: set[str], most: int | None = None) -> int:
    """Delete least recently used files, at most `most`, until the rest are within `limit` bytes; how many went.

    A process that has mapped a deleted file goes on reading it. What killed processes left half-written goes, too.
    """
    found: list[tuple[int, int, Path]] = []
    half_written = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may delete the same file
            status = path.stat()
            if path.suffix == SUFFIX:
                found.append((status.st_atime_ns, status.st_size, path))
            elif path.suffix == TEMPORARY and status.st_mtime < time.time() - ABANDONED_SECONDS:
                path.unlink()
            elif path.suffix == TEMPORARY:
                half_written += status.st_size
    total, gone = half_written + sum(size for _, size, _ in found), 0
    for _, size, path in sorted(found):
        if total > limit and path.stem not in kept and gone != most:
            path.unlink(missing_ok=True)
            total -= size
            gone += 1
    return gone
