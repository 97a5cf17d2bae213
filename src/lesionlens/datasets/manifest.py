"""Anyone's own images: a CSV or Parquet table of images, annotations, labels and patients to an index.

A row with a mask or a box is a lesion of class `label`. A row without is an image that shows no lesion: windows are cut
from it for the class `label`, which then has no row with an annotation. Classes without lesions come first, each kind
by name.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lesionlens.config.data import MARKED
from lesionlens.datasets.tables import (
    MOST_BYTES,
    check_alike,
    check_official_splits,
    find_file,
    labels_of,
    outline_of,
    read_table,
)
from lesionlens.identity import bytes_digest, digest
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import file_below
from lesionlens.records import SPLITS, DatasetIndex, Exclusion, Image, Label, Lesion, Outline, Split

MANIFESTS = ("manifest.csv", "manifest.parquet")
BOX = ("x", "y", "width", "height")
OPTIONAL = ("split", "view", "side", "lesion", "mask_value", "margins")
NOTHING = {"", "na", "n/a", "#n/a", "<na>", "nan", "none", "null", "nil", "-", "."}  # of any column but label


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `place` is its file and line. Empty text stands for nothing."""

    place: str
    image: str
    mask: str
    box: tuple[float, float, float, float] | None
    label: str
    patient: str
    split: str
    view: str
    side: str
    lesion: str
    mask_value: str
    margins: str

    @property
    def annotated(self) -> bool:
        return bool(self.mask or self.box)


def find_manifest(root: Path) -> Path | None:
    """`manifest.csv`, else `manifest.parquet`, else None."""
    return next((root / name for name in MANIFESTS if (root / name).is_file()), None)


def read_manifest(root: Path) -> DatasetIndex:
    """The index of the manifest in `root`; paths in it are relative to `root`.

    An image or mask that is missing or refused costs its own sample: it has an exclusion. The digest depends on the
    table, file names and sizes.

    Raises ValueError, naming file, row and remedy, where the table can't be trusted: a missing column or value, rows
    that contradict each other, names that look alike, an unknown split, a split named in some rows only or without
    train or test, a class of which most rows have no annotation and some have, fewer than two classes.
    """
    path = find_manifest(root) or root / MANIFESTS[0]
    rows = tuple(_rows(path, root))
    _check_rows(path, rows)
    labels = _labels(path, rows)
    images = _images(rows, frozenset(label.code for label in labels if not label.is_lesion))
    check_official_splits(path, {row.split for row in rows})
    sizes: dict[str, int] = {}
    shown = {(row.mask, row.image) for row in rows if row.mask}
    shared = {mask for mask, times in Counter(mask for mask, _ in shown).items() if times > 1}
    lesions: list[Lesion] = []
    exclusions: list[Exclusion] = []
    numbers: Counter[str] = Counter()
    for row in rows:
        image, lesion = images[row.image], None
        if not image.background:
            numbers[row.image] += 1
            lesion = _lesion(row, image, f"{row.image}#{row.lesion or numbers[row.image]}")
            lesions.append(lesion)
        problem = _problem(root, row, lesion, sizes)
        if problem is None and lesion is not None and row.mask in shared:
            problem = "mask_ambiguous", f"{row.place}: {row.mask} is the mask of several images; name each one's own"
        if problem is not None:
            exclusions.append(Exclusion(row.image, lesion.key if lesion else None, *problem))
    _check_lesions(path, lesions)
    reasons = [(e.image_key, e.lesion_key, e.reason) for e in exclusions]
    identity = digest("manifest", bytes_digest([path.read_bytes()]), sorted(sizes.items()), reasons)
    return DatasetIndex(
        path.stem, "manifest", identity, labels, tuple(images.values()), tuple(lesions), tuple(exclusions)
    )


def _lesion(row: Row, image: Image, key: str) -> Lesion:
    outline = outline_of(row.box) if row.box else None
    split, value = image.official_split, row.mask_value or None
    return Lesion(
        key, row.image, None, None, row.label, row.mask or None, split, outline=outline, mask_value=value,
        margins=row.margins.upper() or None,
    )  # fmt: skip


def _problem(root: Path, row: Row, lesion: Lesion | None, sizes: dict[str, int]) -> tuple[str, str] | None:
    """Why a row's files can't be used (reason, detail), None where they are there; enters their `sizes` in bytes."""
    if lesion is not None and not row.annotated:
        return "mask_missing", f"{row.place}: neither mask nor box, while other rows of class {row.label} have one"
    files = {"image": row.image, "mask": row.mask} if lesion is not None and row.mask else {"image": row.image}
    for role, name in files.items():
        try:
            if name not in sizes:
                sizes[name] = file_below(root, name).stat().st_size
        except UnusableImageError as error:
            return f"{role}_{error.reason}", error.detail
    return None


def _rows(path: Path, root: Path) -> Iterator[Row]:
    required = ("image", "label", "patient")
    for place, fields in read_table(path, root, required, ("mask", *BOX, *OPTIONAL)):
        if "mask" not in fields and not fields.keys() >= set(BOX):
            others = ", ".join(repr(name) for name in fields if name and name not in required)
            raise ValueError(
                f"{path} has no column 'mask', nor the columns {', '.join(BOX)} of boxes: add one of them"
                f"{f', or rename what holds it (found {others})' if others else ''}"
            )
        values = {name: _value(name, fields.get(name, "")) for name in (*required, "mask", *OPTIONAL)}
        values |= {name: find_file(root, values[name]) for name in ("image", "mask") if values[name]}
        values["split"] = values["split"].casefold()
        yield Row(place=place, box=_box(place, fields), **values)


def _value(name: str, text: str) -> str:
    """The text of a field, empty where it is one of the words for nothing; a class may have such a name."""
    nothing = name != "label" and (text.casefold() in NOTHING or (name == "mask" and text in ("0", "0.0")))
    return "" if nothing else text


def _box(place: str, fields: dict[str, str]) -> tuple[float, float, float, float] | None:
    """x, y, width, height in pixels; None where all are empty. ValueError for anything else but four numbers."""
    given = [_value(name, fields.get(name, "")) for name in BOX]
    if not any(given):
        return None
    try:
        x, y, width, height = map(float, given)
        if "_" in "".join(given) or not (
            abs(x) + abs(y) < float("inf") and 0 < width < float("inf") and 0 < height < float("inf")
        ):
            raise ValueError
    except ValueError:
        words = ", ".join(f"{name} {value!r}" for name, value in zip(BOX, given, strict=True))
        raise ValueError(f"{place}: {words} is no box in pixels; correct it, or leave all four empty") from None
    return x, y, width, height


def _check_rows(path: Path, rows: tuple[Row, ...]) -> None:
    for row in rows:
        empty = [name for name in ("image", "label", "patient") if not getattr(row, name)]
        if empty:
            raise ValueError(f"{row.place}: {empty[0]} is empty; fill it in or delete the row")
        if row.mask and row.box:
            raise ValueError(f"{row.place}: both a mask and a box; leave one of them empty")
        if row.mask_value and not re.match(MARKED, row.mask_value):
            raise ValueError(f"{row.place}: mask_value is {row.mask_value!r}, not one of docs/data.md; correct it")
        if row.split and row.split not in SPLITS:
            raise ValueError(f"{row.place}: split is {row.split!r}, not one of {', '.join(SPLITS)}; correct it")
        if bool(row.split) != bool(rows[0].split):
            raise ValueError(f"{row.place}: split is filled in some rows only; fill it in every row, or in none")
        for name, most in MOST_BYTES.items():
            if len(getattr(row, name).encode()) > most:
                raise ValueError(f"{row.place}: {name} is longer than {most} bytes; shorten it")
    for name in ("label", "patient"):
        check_alike(name, ((getattr(row, name), row.place) for row in rows))


def _labels(path: Path, rows: tuple[Row, ...]) -> tuple[Label, ...]:
    """Classes without lesions first, then those with, each by name; every class is a group of its own."""
    classes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        classes[row.label].append(row)
    for label, members in classes.items():
        annotated = [row for row in members if row.annotated]
        if annotated and 2 * len(annotated) <= len(members):
            raise ValueError(
                f"{annotated[0].place}: class {label} has an annotation here, and none in"
                f" {len(members) - len(annotated)} of its {len(members)} rows: empty it where the class is one without"
                " lesions, else annotate or delete the others"
            )
    labels = labels_of({label: any(row.annotated for row in members) for label, members in classes.items()})
    if len(labels) < 2 or not any(label.is_lesion for label in labels):
        raise ValueError(
            f"{path} has {len(labels)} classes, {sum(label.is_lesion for label in labels)} of them with masks or boxes:"
            " a study needs two classes, and one with masks or boxes at least"
        )
    return labels


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


def _check_lesions(path: Path, lesions: Iterable[Lesion]) -> None:
    keys: set[str] = set()
    places: set[tuple[str, str | Outline, str | None]] = set()
    for lesion in lesions:
        annotation = lesion.mask_path or lesion.outline
        place = (lesion.image_key, annotation or "", lesion.mask_value)
        if lesion.key in keys or (annotation and place in places):
            raise ValueError(f"{path}: {lesion.key} with mask {lesion.mask_path} is there twice; delete one row")
        keys.add(lesion.key)
        places.add(place)
