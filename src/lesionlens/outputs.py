"""Predictions and maps that were made elsewhere, read from files: probabilities as a table, a map file per sample."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from lesionlens.datasets.tables import read_table
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import file_below, read_image

KINDS = (".npy", ".png")
FINEST = 56  # cells along a side that are kept of a finer map
SUM = 1e-3  # how far the probabilities of a sample may add up from 1
TEMPLATE = "`lesionlens examine --template` prints the names of all samples"


def read_predictions(path: Path, classes: Sequence[str]) -> dict[str, list[float]]:
    """Probabilities of the classes by the sample's name, from a CSV or Parquet file.

    Its columns: `sample`, and one for every class, whose values are 0 to 1 and add up to 1. ValueError that names file
    and line for a value that is no such probability, or with counts where samples are there twice.
    """
    found: dict[str, list[float]] = {}
    twice: list[str] = []
    for place, fields in read_table(path, path.parent, ("sample", *classes)):
        name = fields["sample"]
        if name in found:
            twice.append(name)
        found[name] = _row(place, [fields[code] for code in classes])
    _refuse(f"{path} names", twice, "twice: keep one row of each")
    return found


def probabilities_of(
    found: Mapping[str, Sequence[float]], where: Path, wanted: Sequence[str], known: Collection[str]
) -> NDArray[np.float32]:
    """Probabilities float32 [n, classes] of the samples `wanted` [n] out of `read_predictions` of the file `where`.

    known: names of all samples, of which it may hold more than are wanted. ValueError with counts where samples are
    missing or unknown.
    """
    _check_names(str(where), found, wanted, known)
    return np.array([found[name] for name in wanted], dtype=np.float32, ndmin=2)


def _row(place: str, texts: list[str]) -> list[float]:
    try:
        values = [float(text) for text in texts]
    except ValueError:
        raise ValueError(
            f"{place}: {', '.join(map(repr, texts))} are not all numbers: give a probability each"
        ) from None
    if not all(0 <= value <= 1 for value in values) or abs(sum(values) - 1) > SUM:
        raise ValueError(
            f"{place}: {', '.join(texts)} are no probabilities, which lie between 0 and 1 and add up to 1: apply the "
            "softmax"
        )
    return values


def read_maps(
    folder: Path, wanted: Sequence[str], needed: Collection[str], known: Collection[str]
) -> NDArray[np.float32]:
    """Maps float32 [n, rows, cols] of the samples `wanted` [n], over the whole sample each, from `<sample>.npy` or
    `<sample>.png` below the folder.

    needed: those that must have one; the others' maps are NaN where there is none. Finer ones than 56 x 56 are averaged
    to that. No pickle is read. ValueError where files are missing, unknown, there twice, no maps of one shape.
    """
    require_folder(folder)
    files: dict[str, str] = {}
    twice: list[str] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in KINDS):
        relative = path.relative_to(folder).as_posix()
        name = relative[: -len(path.suffix)]
        if name in files:
            twice.append(name)
        files[name] = relative
    _refuse(f"{folder} holds", twice, "as .npy and as .png: keep one of each")
    _check_names(str(folder), files, [name for name in wanted if name in needed], known)
    read = {name: _read_map(folder, files[name]) for name in wanted if name in files}
    shapes = {grid.shape for grid in read.values()}
    if len(shapes) > 1:
        listed = ", ".join(f"{rows} x {cols}" for rows, cols in sorted(shapes))
        raise ValueError(f"{folder}: maps have several shapes ({listed}): write all in one")
    nothing = np.full(next(iter(shapes), (2, 2)), np.nan, dtype=np.float32)
    return np.stack([read.get(name, nothing) for name in wanted])


def require_folder(folder: Path) -> None:
    """ValueError where there is no such folder of maps."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: name that of the maps")


def _read_map(folder: Path, relative: str) -> NDArray[np.float32]:
    try:
        if relative.lower().endswith(".png"):
            values = read_image(folder, relative).pixels
        else:
            values = np.load(file_below(folder, relative), allow_pickle=False)
    except UnusableImageError as error:
        raise ValueError(f"{folder}: {error.detail}: write the map again") from error
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{folder / relative} is no array of numbers ({error}): write the map again") from error
    if values.ndim != 2 or min(values.shape) < 2 or values.dtype.kind not in "fiub":
        raise ValueError(
            f"{folder / relative} is {values.dtype} {list(values.shape)}, no map of numbers [rows, columns]"
        )
    grid = np.ascontiguousarray(values, dtype=np.float32)
    if max(grid.shape) > FINEST:
        shape = min(grid.shape[0], FINEST), min(grid.shape[1], FINEST)
        grid = adaptive_avg_pool2d(torch.from_numpy(grid)[None], shape)[0].numpy()
    return grid


def _check_names(where: str, found: Collection[str], wanted: Sequence[str], known: Collection[str]) -> None:
    _refuse(f"{where} names", [name for name in found if name not in known], f"that the data do not give: {TEMPLATE}")
    missing = [name for name in wanted if name not in found]
    _refuse(f"{where} lacks", missing, f"of {len(wanted)}: {TEMPLATE}")


def _refuse(begin: str, names: list[str], end: str) -> None:
    if names:
        count = f"{len(names)} sample{'s' if len(names) > 1 else ''}"
        raise ValueError(f"{begin} {count} {end} (first {names[0]!r})")
