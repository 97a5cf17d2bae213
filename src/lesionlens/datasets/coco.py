"""Annotations in COCO JSON, as detection tools export them: boxes and polygons of own images to an index."""

import logging
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import AliasChoices, BaseModel, Field, ValidationError

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
from lesionlens.images.reading import escaped, file_below, path_below
from lesionlens.records import DatasetIndex, Exclusion, Image, Lesion, Outline, Split

log = logging.getLogger(__name__)

NAMES = re.compile(r"(^|.*[._-])(coco|instances|annotations)([._-].*)?\.json$", re.IGNORECASE)
PATIENTS = "patients.csv"
WITHOUT = "no lesion"
"""The class of images without annotations."""
WORDS: dict[str, Split] = {
    "train": "train",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}


class CocoImage(BaseModel):
    """An entry of `images`. `patient` is no field of COCO's own; some tools keep such, as `patient_id`, too."""

    id: int | str
    file_name: str = Field(min_length=1)
    width: int | None = Field(None, gt=0)
    height: int | None = Field(None, gt=0)
    patient: str | int | None = Field(None, validation_alias=AliasChoices("patient", "patient_id", "PatientID"))


class CocoAnnotation(BaseModel):
    """An entry of `annotations`: `bbox` is x, y, width, height; `segmentation` polygons x, y, x, y…, or RLE."""

    id: int | str | None = None
    image_id: int | str
    category_id: int | str
    bbox: list[float] | None = None
    segmentation: list[Any] | dict[str, Any] | None = None


class CocoCategory(BaseModel):
    """An entry of `categories`."""

    id: int | str
    name: str = Field(min_length=1)


class Coco(BaseModel):
    """One file; other fields are not read."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


@dataclass(frozen=True, slots=True)
class Entry:
    """An image with its annotations; `key` is its path, `problem` why its file can't be used (reason, detail)."""

    key: str
    patient: str
    split: Split | None
    size: tuple[int, int] | None
    found: tuple[tuple[str, CocoAnnotation], ...]
    problem: tuple[str, str] | None


def find_coco(root: Path) -> list[Path]:
    """COCO files in `root` and up to two folders below it, by names such as `train.coco.json`, `instances_val.json`."""
    found = (path for level in ("*.json", "*/*.json", "*/*/*.json") for path in root.glob(level))
    return sorted(path for path in found if NAMES.match(path.name) and path.is_file())


def read_coco(root: Path) -> DatasetIndex:
    """The index of every COCO file in `root`.

    Classes are the categories that annotate something, and WITHOUT, that of images without annotations. A file whose
    name or folder says train, val or test gives its images' official split. Patients come from `patients.csv` (columns
    image, patient), or from images that name one; without either, every image is a patient of its own, and a warning
    is logged. The digest depends on the files, their names and sizes.

    Raises ValueError, naming file and entry, where a file can't be trusted.
    """
    paths = find_coco(root)
    if not paths:
        raise ValueError(f"{root} holds no COCO file such as train.coco.json or instances_train.json: name the folder")
    patients, files = _patients(root), _files(root)
    entries = [entry for path in paths for entry in _entries(root, path, patients, files)]
    _check(root, entries)
    lesions, exclusions = [], []
    for entry in entries:
        for n, (label, annotation) in enumerate(entry.found, 1):
            lesion, problem = _lesion(entry, label, annotation, f"{entry.key}#{n}")
            lesions.append(lesion)
            if entry.problem or problem:
                exclusions.append(Exclusion(entry.key, lesion.key, *(entry.problem or problem or ("", ""))))
        if not entry.found and entry.problem:
            exclusions.append(Exclusion(entry.key, None, *entry.problem))
    classes = {lesion.label or "": True for lesion in lesions}
    if not all(entry.found for entry in entries):
        classes[WITHOUT] = False
    images = (
        Image(e.key, e.patient, e.key, official_split=e.split, background=None if e.found else WITHOUT) for e in entries
    )
    content = [bytes_digest([path.read_bytes()]) for path in paths]
    sizes = sorted((e.key, (root / e.key).stat().st_size) for e in entries if not e.problem)
    identity = digest("coco", content, sorted((e.key, e.patient) for e in entries), sizes)
    return DatasetIndex("coco", "coco", identity, labels_of(classes), tuple(images), tuple(lesions), tuple(exclusions))


def _check(root: Path, entries: list[Entry]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.key in seen:
            raise ValueError(f"{root}: {entry.key} is in two entries or files; leave it in one of them")
        seen.add(entry.key)
        given = [(label, str(found.bbox), str(found.segmentation)) for label, found in entry.found]
        if len(set(given)) < len(given):
            raise ValueError(f"{root}: {entry.key} has the same annotation twice; delete one, or export it again")
        labels = (("label", label) for label, _ in entry.found)
        for name, text in (("image", entry.key), ("patient", entry.patient), *labels):
            if "\0" in text or len(text.encode("utf-8", "replace")) > MOST_BYTES[name]:
                raise ValueError(
                    f"{root}: {name} {text[:40]!a}… is longer than {MOST_BYTES[name]} bytes, or holds NUL; name it anew"
                )
    check_alike("category", ((label, entry.key) for entry in entries for label, _ in entry.found))
    check_alike("patient", ((entry.patient, entry.key) for entry in entries if entry.patient != entry.key))
    lacking = next((entry.key for entry in entries if not entry.found), None)
    if lacking and any(label == WITHOUT for entry in entries for label, _ in entry.found):
        raise ValueError(f"{root}: category {WITHOUT!r} has annotations, and {lacking} none; rename the category")
    check_official_splits(root, {entry.split or "" for entry in entries})
    if len({entry.split is None for entry in entries}) > 1:
        raise ValueError(f"{root}: some COCO files name a split and others do not; name train, val or test in each")
    if not any(entry.found for entry in entries):
        raise ValueError(f"{root}: no COCO file has an annotation; export boxes or polygons")


def _entries(root: Path, path: Path, patients: dict[str, str], files: dict[str, list[str]]) -> Iterator[Entry]:
    try:
        coco = Coco.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: {where or 'the file'}: {first['msg']}; export it again as COCO JSON") from error
    names = {category.id: category.name.strip() or str(category.id) for category in coco.categories}
    if len(names) < len(coco.categories):
        raise ValueError(f"{path}: two categories have the same id; export it again")
    annotations: dict[int | str, list[tuple[str, CocoAnnotation]]] = defaultdict(list)
    images = {image.id: image for image in coco.images}
    if len(images) < len(coco.images):
        raise ValueError(f"{path}: two images have the same id; export it again")
    for annotation in coco.annotations:
        for kind, key, known in (("image", annotation.image_id, images), ("category", annotation.category_id, names)):
            if key not in known:
                raise ValueError(f"{path}: annotation {annotation.id} is of {kind} {key}, which is not there")
        annotations[annotation.image_id].append((names[annotation.category_id], annotation))
    split = _split(path.relative_to(root))
    for image in coco.images:
        key, problem = _file(root, path, image, split, files)
        patient = patients.get(image.file_name) or patients.get(key) or str(image.patient or "") or key
        size = (image.width, image.height) if image.width and image.height else None
        yield Entry(key, patient, split, size, tuple(annotations[image.id]), problem)


def _split(path: Path) -> Split | None:
    """The split that a file's name, or else its nearest folder, speaks of."""
    for part in reversed(path.parts):
        words = [word for word in re.split(r"[^a-z]+", part.lower()) if word in WORDS]
        if words:
            return WORDS[words[0]]
    return None


def _file(
    root: Path, path: Path, image: CocoImage, split: Split | None, files: dict[str, list[str]]
) -> tuple[str, tuple[str, str] | None]:
    """The image's path below `root`, and why it can't be used.

    Looked for beside its COCO file and in the root, else anywhere below it by its name, alone or behind its split's.
    """
    for folder in (path.parent, root):
        name = (PurePosixPath(folder.relative_to(root).as_posix()) / image.file_name).as_posix()
        found = find_file(root, name)
        try:
            file_below(root, found)
            return found, None
        except UnusableImageError as error:
            problem = f"image_{error.reason}", error.detail
    last = PurePosixPath(image.file_name.replace("\\", "/")).name
    prefixes = [f"{word}_" for word, named in WORDS.items() if named == split]
    near = [name for prefix in ("", *prefixes) for name in files.get(prefix + last, [])]
    inside = [name for name in near if split is not None and _split(Path(name)) == split] or near
    if problem[0] == "image_missing" and len(inside) == 1:
        return inside[0], None
    if problem[0] == "image_missing" and inside:
        problem = "image_ambiguous", f"{image.file_name} may be {inside[0]} or {inside[1]}"
    return image.file_name, problem


def _files(root: Path) -> dict[str, list[str]]:
    """Paths below `root` of all files by name."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder, _, names in os.walk(root):
        for name in names:
            path = escaped((Path(folder) / name).relative_to(root).as_posix())
            try:
                path_below(root, path)
            except UnusableImageError:
                continue
            found[escaped(name)].append(path)
    return {name: sorted(paths) for name, paths in found.items()}


def _patients(root: Path) -> dict[str, str]:
    """Patients by image, of PATIENTS; none where there is no such file."""
    if not (root / PATIENTS).is_file():
        log.warning(
            "%s has no %s (columns image, patient): an image that names no patient counts as a patient of its own, and "
            "images of one person may come into several splits", root, PATIENTS,
        )  # fmt: skip
        return {}
    found: dict[str, str] = {}
    for place, fields in read_table(root / PATIENTS, root, ("image", "patient")):
        if not fields["patient"] or found.setdefault(fields["image"], fields["patient"]) != fields["patient"]:
            raise ValueError(f"{place}: {fields['image']} has no patient, or another than in a row before; correct it")
    return found


def _lesion(entry: Entry, label: str, annotation: CocoAnnotation, key: str) -> tuple[Lesion, tuple[str, str] | None]:
    """The lesion of an annotation, and why its outline can't be used (reason, detail)."""
    make = partial(Lesion, key, entry.key, None, None, label, None, entry.split)
    what = f"annotation {annotation.id}"
    if isinstance(annotation.segmentation, dict):
        return make(), ("mask_unreadable", f"the segmentation of {what} is RLE, which is not read: export polygons")
    try:
        outline = _outline(annotation, entry.size)
    except (TypeError, ValueError):
        return make(), ("mask_unreadable", f"{what} is neither a box of four numbers nor polygons")
    if outline is None:
        return make(), ("mask_missing", f"{what} has neither box nor polygons")
    return make(outline=outline), None


def _outline(annotation: CocoAnnotation, size: tuple[int, int] | None) -> Outline | None:
    """Polygons, else the box, else None. TypeError or ValueError for anything that is neither."""
    polygons = []
    for numbers in annotation.segmentation or ():
        values = [float(number) for number in numbers]
        if len(values) < 6 or len(values) % 2 or not all(map(math.isfinite, values)):
            raise ValueError("no polygon")
        polygons.append(tuple(zip(values[::2], values[1::2], strict=True)))
    if polygons:
        return Outline(tuple(polygons), size)
    if not annotation.bbox:
        return None
    x, y, width, height = annotation.bbox
    if not all(map(math.isfinite, annotation.bbox)) or width <= 0 or height <= 0:
        raise ValueError("no box")
    return Outline(outline_of((x, y, width, height)).polygons, size)
