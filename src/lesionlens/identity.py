"""Content identity and seeded generators: the same configuration and inputs give the same digest and the same draws."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; pydantic models by their JSON form.

    Raises TypeError for what JSON cannot hold, ValueError for NaN and infinities.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_model)


def _model(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no place in a digest")


def digest(*parts: Any) -> str:
    """SHA-256 (64 hex characters) of the parts' canonical JSON."""
    return hashlib.sha256(canonical(list(parts)).encode()).hexdigest()


def bytes_digest(chunks: Iterable[bytes]) -> str:
    """SHA-256 (64 hex characters) of the concatenated chunks."""
    sha = hashlib.sha256()
    for chunk in chunks:
        sha.update(chunk)
    return sha.hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 (hex) of the names, sizes and times of change of all files below a folder, without reading them.

    ValueError where there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: name the one of the data set")
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        found.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
    return digest(found)


def file_name(text: str) -> str:
    """The text as a part of a file name: letters, digits, `_`, `.` and `-`, at most 60 bytes of UTF-8.

    Never empty, hidden or a path. Different texts may give the same name.
    """
    kept = re.sub(r"[^\w.-]+", "-", text).encode()[:60].decode(errors="ignore").strip("-.")
    return kept or "unnamed"


def generator(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for what `names` say, for example ("jitter", lesion key)."""
    return np.random.default_rng(int(digest(seed, *names)[:32], 16))
