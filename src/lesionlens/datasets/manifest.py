"""Anyone's own images: a CSV or Parquet table of images, masks, labels and patients to an index.

A row with a mask is a lesion of class `label`. A row without is an image that shows no lesion: windows are cut from it
for the class `label`, which then has no row with a mask. Classes without lesions come first, each kind by name.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lesionlens.datasets.tables import read_table
from lesionlens.identity import bytes_digest, digest
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import file_below
from lesionlens.records import SPLITS, DatasetIndex, Exclusion, Image, Label, Lesion, Split

MANIFESTS = ("manifest.csv", "manifest.parquet")
REQUIRED = ("image", "mask", "label", "patient")
OPTIONAL = ("split", "view", "side", "lesion")


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `place` is its file and line. Empty text stands for nothing."""

    place: str
    image: str
    mask: str
    label: str
    patient: str
    split: str
    view: str
    side: str
    lesion: str


def find_manifest(root: Path) -> Path | None:
    """`manifest.csv`, else `manifest.parquet`, else None."""
    return next((root / name for name in MANIFESTS if (root / name).is_file()), None)


def read_manifest(root: Path) -> DatasetIndex:
    """The index of the manifest in `root`; paths in it are relative to `root`.

    An image or mask that is missing or refused costs its own sample: it has an exclusion. The digest depends on the
    table, file names and sizes.

    Raises ValueError, naming file, row and remedy, where the table can't be trusted: a missing column or value, rows
    that contradict each other, an unknown split, a split named in some rows only or without train or test, fewer than
    two classes.
    """
    path = find_manifest(root) or root / MANIFESTS[0]
    rows = tuple(_rows(path, root))
    _check_rows(path, rows)
    labels = _labels(path, rows)
    images = _images(rows, frozenset(label.code for label in labels if not label.is_lesion))
    _check_splits(path, rows)
    sizes: dict[str, int] = {}
    lesions: list[Lesion] = []
    exclusions: list[Exclusion] = []
    numbers: Counter[str] = Counter()
    for row in rows:
        image, key = images[row.image], None
        if not image.background:
            numbers[row.image] += 1
            key = f"{row.image}#{row.lesion or numbers[row.image]}"
            lesions.append(Lesion(key, row.image, None, None, row.label, row.mask or None, image.official_split))
        problem = _problem(root, row, key is not None, sizes)
        if problem is not None:
            exclusions.append(Exclusion(row.image, key, *problem))
    _check_lesions(path, lesions)
    reasons = [(e.image_key, e.lesion_key, e.reason) for e in exclusions]
    identity = digest("manifest", bytes_digest([path.read_bytes()]), sorted(sizes.items()), reasons)
    return DatasetIndex(
        path.stem, "manifest", identity, labels, tuple(images.values()), tuple(lesions), tuple(exclusions)
    )


def _problem(root: Path, row: Row, is_lesion: bool, sizes: dict[str, int]) -> tuple[str, str] | None:
    """Why a row's files can't be used (reason, detail), None where they are there; enters their `sizes` in bytes."""
    files = {"image": row.image, "mask": row.mask} if is_lesion else {"image": row.image}
    for role, name in files.items():
        if not name:
            return f"{role}_missing", "the manifest names no mask for a lesion"
        try:
            if name not in sizes:
                sizes[name] = file_below(root, name).stat().st_size
        except UnusableImageError as error:
            return f"{role}_{error.reason}", error.detail
    return None


def _rows(path: Path, root: Path) -> Iterator[Row]:
    for place, fields in read_table(path, root, REQUIRED):
        values = {name: fields.get(name, "") for name in (*REQUIRED, *OPTIONAL)}
        values |= {name: str(PurePosixPath(values[name])) for name in ("image", "mask") if values[name]}  # ./a is a
        yield Row(place=place, **values)


def _check_rows(path: Path, rows: tuple[Row, ...]) -> None:
    for row in rows:
        empty = [name for name in ("image", "label", "patient") if not getattr(row, name)]
        if empty:
            raise ValueError(f"{row.place}: {empty[0]} is empty; fill it in or delete the row")
        if row.split and row.split not in SPLITS:
            raise ValueError(f"{row.place}: split is {row.split!r}, not one of {', '.join(SPLITS)}; correct it")
        if bool(row.split) != bool(rows[0].split):
            raise ValueError(f"{row.place}: split is filled in some rows only; fill it in every row, or in none")


def _check_splits(path: Path, rows: tuple[Row, ...]) -> None:
    splits = {row.split for row in rows} - {""}
    if splits and not splits >= {"train", "test"}:
        absent = "test" if "train" in splits else "train"
        raise ValueError(f"{path}: no row's split is {absent}; name some rows so, or leave the column out")


def _labels(path: Path, rows: tuple[Row, ...]) -> tuple[Label, ...]:
    """Classes without lesions first, then those with, each by name; every class is a group of its own."""
    masked: dict[str, bool] = defaultdict(bool)
    for row in rows:
        masked[row.label] |= bool(row.mask)
    if len(masked) < 2 or not any(masked.values()):
        raise ValueError(
            f"{path} has {len(masked)} classes, {sum(masked.values())} of them with masks: a study needs two classes,"
            " and one with masks at least"
        )
    order = sorted(masked, key=lambda name: (masked[name], name))
    return tuple(Label(name, name, name, n, masked[name]) for n, name in enumerate(order))


def _images(rows: tuple[Row, ...], plain: frozenset[str]) -> dict[str, Image]:
    """Images by key. `plain`: the classes without lesions, whose images have one row each."""
    images: dict[str, Image] = {}
    for row in rows:
        background = row.label if row.label in plain else None
        split: Split | None = next((split for split in SPLITS if split == row.split), None)
        image = Image(row.image, row.patient, row.image, row.side or None, row.view or None, None, split, background)
        first = images.setdefault(row.image, image)
        if first != image or (background and first is not image):
            raise ValueError(f"{row.place}: {row.image} contradicts or repeats an earlier row about it; correct it")
    return images


def _check_lesions(path: Path, lesions: list[Lesion]) -> None:
    keys: set[str] = set()
    places: set[tuple[str, str | None]] = set()
    for lesion in lesions:
        place = (lesion.image_key, lesion.mask_path)
        if lesion.key in keys or (lesion.mask_path and place in places):
            raise ValueError(f"{path}: {lesion.key} with mask {lesion.mask_path} is there twice; delete one row")
        keys.add(lesion.key)
        places.add(place)
