"""Where checkpoints lie: a folder, or any location that fsspec knows by URL, such as s3://bucket/prefix.

A file appears under its name whole or, in a folder, not at all. Elsewhere a killed write may leave a piece;
nothing refers to it, because the record learns of a file, and of its SHA-256, after it is written.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec

Folder = Path | str
"""A folder of this machine, or a URL."""
TEMPORARY = ".tmp"
BUCKETS = frozenset({"s3", "gs", "az", "abfs"})
"""Stores without folders, where making one would make a bucket."""


def beneath(folder: Folder, name: str) -> Folder:
    """A place inside a folder."""
    return folder / name if isinstance(folder, Path) else f"{folder.rstrip('/')}/{name}"


def write(folder: Folder, name: str, data: bytes) -> None:
    """Write a file; on return it is safe. OSError where it cannot be written."""
    if isinstance(folder, Path):
        _write_here(folder, name, data)
        return
    with _remote(folder) as (files, path):
        try:
            if BUCKETS.isdisjoint([files.protocol] if isinstance(files.protocol, str) else files.protocol):
                files.makedirs(path, exist_ok=True)
            files.pipe_file(f"{path}/{name}", data)
        except Exception:
            with suppress(Exception):  # a piece would take the room of others
                files.rm_file(f"{path}/{name}")
            raise


def _write_here(folder: Path, name: str, data: bytes) -> None:
    temporary = folder / (name + TEMPORARY)
    try:
        _make(folder)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / name)
        _sync(folder)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _make(folder: Path) -> None:
    """Have the folder, its own name on disk, too."""
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


def read(folder: Folder, name: str) -> bytes:
    """A file's content. OSError if it is missing or out of reach."""
    if isinstance(folder, Path):
        return (folder / name).read_bytes()
    with _remote(folder) as (files, path):
        return bytes(files.cat_file(f"{path}/{name}"))


def names(folder: Folder) -> list[str]:
    """Names of the files in a folder; empty where there is none."""
    if isinstance(folder, Path):
        return [path.name for path in folder.iterdir()] if folder.exists() else []
    with _remote(folder) as (files, path):
        files.invalidate_cache()
        return [found.rsplit("/", 1)[-1] for found in files.ls(path, detail=False)] if files.exists(path) else []


def remove(folder: Folder, name: str) -> None:
    """Delete a file; nothing happens where it is gone already."""
    if isinstance(folder, Path):
        (folder / name).unlink(missing_ok=True)
        return
    with _remote(folder) as (files, path), suppress(FileNotFoundError):
        files.rm_file(f"{path}/{name}")


def size(folder: Folder) -> int:
    """Bytes of all files in and below a folder."""
    if isinstance(folder, Path):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    with _remote(folder) as (files, path):
        files.invalidate_cache()
        return int(files.du(path)) if files.exists(path) else 0


@contextmanager
def _remote(folder: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL and the path in it; whatever its libraries raise becomes an OSError."""
    try:
        yield fsspec.core.url_to_fs(folder)
    except OSError:
        raise
    except (ImportError, ValueError) as error:
        raise OSError(
            f"checkpoints cannot be kept at {folder}: {error}. For s3:// install 'lesionlens[s3]'; else name a folder"
        ) from error
    except Exception as error:  # botocore and its kin have families of their own
        raise OSError(f"{folder} is out of reach: {type(error).__name__}: {error}") from error
