"""Data sets and the sample sets cut from them, written and read."""

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Table, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.bulk import copy_rows, enter, finite
from db.tables.data import (
    LESION_BOX,
    WINDOW,
    dataset,
    exclusion,
    image,
    label,
    lesion,
    normalisation,
    overview,
    sample,
    sample_lesion,
    sample_set,
    split_check,
)
from lesionlens.images.image import encode_webp
from lesionlens.records import (
    DatasetIndex,
    Exclusion,
    ImageSize,
    LeakCheck,
    Lesion,
    Overview,
    Sample,
    Statistics,
)
from lesionlens.samples.normalise import pack_mask, pack_pixels

# columns in the order in which rows are written
LABEL = ("dataset_id", "code", "name", "group_name", "ordinal", "is_lesion")
IMAGE = ("dataset_id", "key", "patient", "laterality", "view", "path", "breast_density", "official_split")
LESION = (
    "dataset_id", "image_id", "key", "abnormality_id", "lesion_type", "pathology", "label_id", "subtlety", "assessment",
    "mask_path", "outline", "mask_value", "official_split",
)  # fmt: skip
SAMPLE = (
    "sample_set_id", "key", "label_id", "image_id", "lesion_id", "split", *WINDOW, *LESION_BOX, "mask_fraction",
    "pixels", "mask", "breast",
)  # fmt: skip
EXCLUSION = ("sample_set_id", "image_id", "lesion_id", "reason", "detail")
CHECK = ("sample_set_id", "entity", "split_a", "split_b", "shared", "examples")

LONGEST = 1000
"""Bytes of a name; an index of PostgreSQL takes 2,704, and samples are named after images."""


def save_dataset(connection: Connection, index: DatasetIndex, root: str) -> int:
    """Enter a data set with its labels, images and lesions; returns its id, the same for the same content.

    ValueError for a name that is too long.
    """
    _check_names(index)
    values = {"name": index.name, "kind": index.kind, "root": root}
    dataset_id, new = enter(connection, dataset, {"digest": index.digest}, values)
    if not new:
        connection.execute(update(dataset).where(dataset.c.id == dataset_id).values(name=index.name, root=root))
        return dataset_id
    classes = ((dataset_id, x.code, x.name, x.group, x.ordinal, x.is_lesion) for x in index.labels)
    copy_rows(connection, label, LABEL, classes)
    views = (
        (dataset_id, x.key, x.patient, x.laterality, x.view, x.path, x.breast_density, x.official_split)
        for x in index.images
    )
    copy_rows(connection, image, IMAGE, views)
    images, labels = _ids(connection, image, "key", dataset_id), _ids(connection, label, "code", dataset_id)
    findings = (
        (dataset_id, images[x.image_key], x.key, x.abnormality_id, x.lesion_type, x.pathology, _id(labels, x.label),
         x.subtlety, x.assessment, x.mask_path, _outline(x), x.mask_value, x.official_split) for x in index.lesions
    )  # fmt: skip
    copy_rows(connection, lesion, LESION, findings)
    return dataset_id


def _check_names(index: DatasetIndex) -> None:
    names = {
        "class": (x.code for x in index.labels),
        "image": (x.key for x in index.images),
        "patient": (x.patient for x in index.images),
        "lesion": (x.key for x in index.lesions),
    }
    for kind, texts in names.items():
        for text in texts:
            if len(text.encode()) > LONGEST:
                raise ValueError(
                    f"{index.name}: the {kind} {text[:40]!r}... has {len(text.encode())} bytes in UTF-8: shorten it to "
                    f"{LONGEST} at most"
                )


def _outline(given: Lesion) -> Jsonb | None:
    return None if given.outline is None else Jsonb(given.outline.polygons)


def _ids(connection: Connection, table: Table, name: str, dataset_id: int) -> dict[str, int]:
    """Row ids of a data set's table by the value of a column."""
    found = connection.execute(select(table.c[name], table.c.id).where(table.c.dataset_id == dataset_id))
    return {str(value): int(number) for value, number in found}


def _id(numbers: dict[str, int], key: str | None) -> int | None:
    """The id of a key; None for None. KeyError for a key that the data set lacks."""
    return None if key is None else numbers[key]


def open_sample_set(
    connection: Connection, dataset_id: int, digest: str, config: dict[str, Any], shape: tuple[int, int, int]
) -> int:
    """Begin a sample set of samples of (height, width, scale); returns its id.

    What a killed predecessor left of the same set is removed first.
    The caller holds the set's lease. Samples may be committed in batches: nobody finds the set before it is closed.
    `config` may hold Pydantic's JSON form of any options.
    """
    unfinished = (sample_set.c.digest == digest) & sample_set.c.finished_at.is_(None)
    connection.execute(sample_set.delete().where(unfinished))
    values = {"digest": digest, "dataset_id": dataset_id, "config": config}
    values |= dict(zip(("height", "width", "scale"), shape, strict=True))
    return int(connection.execute(sample_set.insert().values(**values).returning(sample_set.c.id)).scalar_one())


class SampleWriter:
    """Adds to an open sample set; knows the ids of the data set's labels, images and lesions."""

    def __init__(self, connection: Connection, dataset_id: int, sample_set_id: int) -> None:
        shape = select(sample_set.c.height, sample_set.c.width, sample_set.c.scale)
        self.height, self.width, self.scale = connection.execute(shape.where(sample_set.c.id == sample_set_id)).one()
        self.sample_set_id = sample_set_id
        self.labels = _ids(connection, label, "code", dataset_id)
        self.images = _ids(connection, image, "key", dataset_id)
        self.lesions = _ids(connection, lesion, "key", dataset_id)

    def add(self, connection: Connection, items: Sequence[Sample | Exclusion | ImageSize | Overview]) -> None:
        """Store a batch in its order, sizes of images first: the record refuses a box that leaves its image.

        Raises ValueError where a sample's arrays are not of the set's shape, KeyError where an item names an image,
        lesion or label that the data set lacks.
        """
        self._sizes(connection, [item for item in items if isinstance(item, ImageSize)])
        samples = [item for item in items if isinstance(item, Sample)]
        copy_rows(connection, sample, SAMPLE, (self._row(item) for item in samples))
        self._lesions(connection, [item for item in samples if item.lesions])
        excluded = (
            (self.sample_set_id, self.images[x.image_key], _id(self.lesions, x.lesion_key), x.reason, x.detail)
            for x in items
            if isinstance(x, Exclusion)
        )
        copy_rows(connection, exclusion, EXCLUSION, excluded)
        for item in items:
            if isinstance(item, Overview):
                # another sample set of the same data set may have kept the same image
                row = upsert(overview).values(image_id=self.images[item.image_key], pixels=encode_webp(item.pixels))
                connection.execute(row.on_conflict_do_nothing())

    def close(self, connection: Connection, checks: Sequence[LeakCheck], statistics: Sequence[Statistics]) -> None:
        """Store what was found over all samples, and let readers see the set."""
        leaks = ((self.sample_set_id, x.entity, x.split_a, x.split_b, x.shared, list(x.examples)) for x in checks)
        copy_rows(connection, split_check, CHECK, leaks)
        grey = (
            (self.sample_set_id, _id(self.labels, x.label), finite("normalisation.mean", x.mean),
             finite("normalisation.std", x.std)) for x in statistics
        )  # fmt: skip
        copy_rows(connection, normalisation, ("sample_set_id", "label_id", "mean", "std"), grey)
        done = update(sample_set).where(sample_set.c.id == self.sample_set_id).values(finished_at=func.now())
        connection.execute(done)

    def _sizes(self, connection: Connection, sizes: Sequence[ImageSize]) -> None:
        """Enter unknown sizes in the order of ids: another process that prepares the same images waits, no deadlock."""
        found: list[dict[str, Any]] = [
            {"number": self.images[x.image_key], "columns": x.width, "rows": x.height, "content": x.pixels}
            for x in sizes
        ]
        if found:
            unknown = update(image).where(image.c.id == bindparam("number"), image.c.width.is_(None))
            values = unknown.values(width=bindparam("columns"), height=bindparam("rows"), pixels=bindparam("content"))
            connection.execute(values, sorted(found, key=lambda row: row["number"]))

    def _lesions(self, connection: Connection, films: Sequence[Sample]) -> None:
        keys = [film.key for film in films]
        stored = select(sample.c.key, sample.c.id).where(sample.c.key.in_(keys))
        found = connection.execute(stored.where(sample.c.sample_set_id == self.sample_set_id))
        ids = {key: number for key, number in found}
        rows = ((ids[film.key], self.lesions[shown.key], *shown.box) for film in films for shown in film.lesions)
        copy_rows(connection, sample_lesion, ("sample_id", "lesion_id", "x0", "y0", "x1", "y1"), rows)

    def _row(self, item: Sample) -> tuple[Any, ...]:
        """The values of SAMPLE."""
        coarse = self.height // self.scale, self.width // self.scale
        wanted = {"pixels": (self.height, self.width), "mask": coarse, "breast": coarse}
        for name, shape in wanted.items():
            array = getattr(item, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"sample {item.key}: {name} is {array.shape}, not {shape[0]} x {shape[1]}")
        window, box, fraction = item.window, item.lesion_box, item.mask_fraction
        return (
            self.sample_set_id, item.key, self.labels[item.label], self.images[item.image_key],
            _id(self.lesions, item.lesion_key), item.split, window.x0, window.y0, window.x1, window.y1,
            *((box.x0, box.y0, box.x1, box.y1) if box else (None,) * 4),
            None if fraction is None else finite("sample.mask_fraction", fraction),
            pack_pixels(item.pixels, compress=self.scale > 1), None if item.mask is None else pack_mask(item.mask),
            None if item.breast is None else pack_mask(item.breast),
        )  # fmt: skip


def find_sample_set(connection: Connection, digest: str) -> int | None:
    """Id of the finished sample set with this digest, or None."""
    finished = sample_set.c.finished_at.is_not(None)
    return connection.scalar(select(sample_set.c.id).where(sample_set.c.digest == digest, finished))


def sample_set_digest(connection: Connection, sample_set_id: int) -> str:
    """Digest of a sample set. ValueError for an unknown id."""
    found: str | None = connection.scalar(select(sample_set.c.digest).where(sample_set.c.id == sample_set_id))
    if found is None:
        raise ValueError(f"the record holds no sample set {sample_set_id}")
    return found


def dataset_digest(connection: Connection, sample_set_id: int) -> str | None:
    """Digest of the data set that a sample set was cut from, or None."""
    cut = select(dataset.c.digest).join(sample_set, sample_set.c.dataset_id == dataset.c.id)
    return connection.scalar(cut.where(sample_set.c.id == sample_set_id))
