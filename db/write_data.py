"""Writing the prepare stage: data sets, sample sets, studies and their planned runs."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from sqlalchemy import Connection, Table, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from db import tables
from db.copy import copy_rows, finite
from lesionlens.config import RunConfig, TrainingConfig
from lesionlens.records import DatasetIndex, Exclusion, ImageSize, LeakCheck, Overview, Sample, Statistics
from lesionlens.samples.normalise import pack_mask, pack_pixels

WINDOW = ("window_x0", "window_y0", "window_x1", "window_y1")
LESION_BOX = ("lesion_x0", "lesion_y0", "lesion_x1", "lesion_y1")
PATCH = (
    "sample_set_id", "key", "label_id", "image_id", "lesion_id", "split", *WINDOW, *LESION_BOX,
    "mask_fraction", "pixels", "mask",
)  # fmt: skip


def enter(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> tuple[int, bool]:
    """The id of the row with this unique key, and whether it is new. A concurrent writer's row is waited for."""
    made = connection.scalar(
        upsert(table).values(**key, **values).on_conflict_do_nothing(index_elements=list(key)).returning(table.c.id)
    )
    if made is not None:
        return int(made), True
    found = connection.scalar(select(table.c.id).filter_by(**key))
    if found is None:
        raise RuntimeError(f"{table.name} {key} was deleted while it was being entered: try again")
    return int(found), False


def ids(connection: Connection, table: Table, name: str, dataset_id: int) -> dict[str, int]:
    """Row ids of a data set's table by the value of a column."""
    found = connection.execute(select(table.c[name], table.c.id).where(table.c.dataset_id == dataset_id))
    return {str(value): int(number) for value, number in found}


def known(numbers: dict[str, int], key: str | None) -> int | None:
    """The id of a key; None for None. KeyError for a key that the data set lacks."""
    return None if key is None else numbers[key]


def save_dataset(connection: Connection, index: DatasetIndex, root: str) -> int:
    """Enter a data set with its labels, images and lesions; returns its id, the same for the same content."""
    values = {"name": index.name, "kind": index.kind, "root": root}
    dataset_id, new = enter(connection, tables.dataset, {"digest": index.digest}, values)
    if not new:
        connection.execute(tables.dataset.update().where(tables.dataset.c.id == dataset_id).values(root=root))
        return dataset_id
    copy_rows(
        connection,
        tables.label,
        ("dataset_id", "code", "name", "group_name", "ordinal", "is_lesion"),
        ((dataset_id, x.code, x.name, x.group, x.ordinal, x.is_lesion) for x in index.labels),
    )
    copy_rows(
        connection,
        tables.image,
        ("dataset_id", "key", "patient", "laterality", "view", "path", "breast_density", "official_split"),
        (
            (dataset_id, x.key, x.patient, x.laterality, x.view, x.path, x.breast_density, x.official_split)
            for x in index.images
        ),
    )
    _copy_lesions(connection, dataset_id, index)
    return dataset_id


def _copy_lesions(connection: Connection, dataset_id: int, index: DatasetIndex) -> None:
    images = ids(connection, tables.image, "key", dataset_id)
    labels = ids(connection, tables.label, "code", dataset_id)
    copy_rows(
        connection,
        tables.lesion,
        ("dataset_id", "image_id", "key", "abnormality_id", "lesion_type", "pathology", "label_id", "subtlety",
         "assessment", "mask_path", "official_split"),
        ((dataset_id, images[x.image_key], x.key, x.abnormality_id, x.lesion_type, x.pathology, known(labels, x.label),
          x.subtlety, x.assessment, x.mask_path, x.official_split) for x in index.lesions),
    )  # fmt: skip


def open_sample_set(connection: Connection, dataset_id: int, digest: str, config: dict[str, Any], size: int) -> int:
    """Begin a sample set; returns its id. What a killed predecessor left of the same set is removed first.

    The caller holds the set's lease. Patches may be committed in batches: nobody finds the set before it is closed.
    `config` may hold Pydantic's JSON form of any options.
    """
    sample_set = tables.sample_set
    unfinished = (sample_set.c.digest == digest) & sample_set.c.finished_at.is_(None)
    connection.execute(sample_set.delete().where(unfinished))
    values = {"digest": digest, "dataset_id": dataset_id, "config": config, "size": size}
    return int(connection.execute(sample_set.insert().values(**values).returning(sample_set.c.id)).scalar_one())


class SampleWriter:
    """Adds to an open sample set; knows the ids of the data set's labels, images and lesions."""

    def __init__(self, connection: Connection, dataset_id: int, sample_set_id: int, size: int) -> None:
        self.sample_set_id = sample_set_id
        self.size = size
        self.labels = ids(connection, tables.label, "code", dataset_id)
        self.images = ids(connection, tables.image, "key", dataset_id)
        self.lesions = ids(connection, tables.lesion, "key", dataset_id)

    def add(self, connection: Connection, items: Sequence[Sample | Exclusion | ImageSize | Overview]) -> None:
        """Store a batch in its order, sizes of images first: the record refuses a box that leaves its image.

        Raises ValueError where a patch's arrays are not `size` x `size`, KeyError where an item names an image,
        lesion or label that the data set lacks.
        """
        self._sizes(connection, [item for item in items if isinstance(item, ImageSize)])
        patches = [item for item in items if isinstance(item, Sample)]
        copy_rows(connection, tables.sample, PATCH, self._patches(patches))
        columns = ("sample_set_id", "image_id", "lesion_id", "reason", "detail")
        left_out = (
            (self.sample_set_id, self.images[x.image_key], known(self.lesions, x.lesion_key), x.reason, x.detail)
            for x in items
            if isinstance(x, Exclusion)
        )
        copy_rows(connection, tables.exclusion, columns, left_out)
        for item in items:
            if isinstance(item, Overview):
                # another sample set of the same data set may have kept the same image
                row = upsert(tables.overview).values(image_id=self.images[item.image_key], pixels=webp(item.pixels))
                connection.execute(row.on_conflict_do_nothing())

    def close(self, connection: Connection, checks: Sequence[LeakCheck], statistics: Sequence[Statistics]) -> None:
        """Store what was found over all patches, and let readers see the set."""
        copy_rows(
            connection,
            tables.split_check,
            ("sample_set_id", "unit", "split_a", "split_b", "shared", "examples"),
            ((self.sample_set_id, x.entity, x.split_a, x.split_b, x.shared, list(x.examples)) for x in checks),
        )
        copy_rows(
            connection,
            tables.normalisation,
            ("sample_set_id", "label_id", "mean", "std"),
            (
                (
                    self.sample_set_id,
                    known(self.labels, x.label),
                    finite("normalisation.mean", x.mean),
                    finite("normalisation.std", x.std),
                )
                for x in statistics
            ),
        )
        sample_set = tables.sample_set
        connection.execute(
            sample_set.update().where(sample_set.c.id == self.sample_set_id).values(finished_at=func.now())
        )

    def _sizes(self, connection: Connection, sizes: Sequence[ImageSize]) -> None:
        """Note sizes not known yet, in the order of ids: who prepares the same images beside us waits, no deadlock."""
        image = tables.image
        found = [{"number": self.images[x.image_key], "columns": x.width, "rows": x.height} for x in sizes]
        if found:
            update = image.update().where(image.c.id == bindparam("number"), image.c.width.is_(None))
            values = update.values(width=bindparam("columns"), height=bindparam("rows"))
            connection.execute(values, sorted(found, key=lambda row: row["number"]))

    def _patches(self, patches: Sequence[Sample]) -> Iterator[tuple[Any, ...]]:
        """Rows in the order given."""
        for patch in patches:
            window, box = patch.window, patch.lesion_box
            fraction = patch.mask_fraction
            yield (
                self.sample_set_id, patch.key, self.labels[patch.label], self.images[patch.image_key],
                known(self.lesions, patch.lesion_key), patch.split, window.x0, window.y0, window.x1, window.y1,
                *((box.x0, box.y0, box.x1, box.y1) if box else (None,) * 4),
                None if fraction is None else finite("patch.mask_fraction", fraction), *_packed(patch, self.size),
            )  # fmt: skip


def save_sample_set(
    connection: Connection,
    dataset_id: int,
    digest: str,
    config: dict[str, Any],
    size: int,
    patches: Sequence[Sample],
    exclusions: Sequence[Exclusion],
    checks: Sequence[LeakCheck],
    statistics: Sequence[Statistics],
    whole: Sequence[ImageSize | Overview] = (),
) -> int:
    """Enter a whole sample set in the caller's transaction; returns its id, the same for the same digest."""
    sample_set = tables.sample_set
    found = connection.scalar(
        select(sample_set.c.id).filter_by(digest=digest).where(sample_set.c.finished_at.is_not(None))
    )
    if found is not None:
        return int(found)
    sample_set_id = open_sample_set(connection, dataset_id, digest, config, size)
    writer = SampleWriter(connection, dataset_id, sample_set_id, size)
    writer.add(connection, [*patches, *exclusions, *whole])
    writer.close(connection, checks, statistics)
    return sample_set_id


def _packed(patch: Sample, size: int) -> tuple[bytes, bytes | None]:
    for name, array in (("pixels", patch.pixels), ("mask", patch.mask)):
        if array is not None and array.shape != (size, size):
            raise ValueError(f"patch {patch.key}: {name} is {array.shape}, the set's size is {size} x {size}")
    return pack_pixels(patch.pixels), None if patch.mask is None else pack_mask(patch.mask)


def webp(array: NDArray[np.uint8]) -> bytes:
    """A grey image uint8 [h, w] as WebP, small rather than exact."""
    stream = BytesIO()
    Pillow.fromarray(array).save(stream, "WEBP", quality=72)
    return stream.getvalue()


def save_study(
    connection: Connection,
    digest: str,
    name: str,
    config: dict[str, Any],
    evaluation_digest: str,
    sample_set_id: int,
    versions: dict[str, str],
) -> int:
    """Enter a study; returns its id, the same for the same digest."""
    values = {
        "name": name, "config": config, "evaluation_digest": evaluation_digest, "sample_set_id": sample_set_id,
        "versions": versions,
    }  # fmt: skip
    return enter(connection, tables.study, {"digest": digest}, values)[0]


def save_run(
    connection: Connection, study_id: int, digest: str, sample_set_id: int, run: RunConfig, training: TrainingConfig
) -> int:
    """Plan a run of a study; returns its id. A run that another study has planned or finished is shared."""
    values = {
        "sample_set_id": sample_set_id,
        **run.model_dump(mode="json"),
        "normalise": training.normalise,
        "weights": training.weights,
        "config": {"run": run.model_dump(mode="json"), "training": training.model_dump(mode="json")},
    }
    run_id, _ = enter(connection, tables.run, {"digest": digest}, values)
    connection.execute(upsert(tables.study_run).values(study_id=study_id, run_id=run_id).on_conflict_do_nothing())
    return run_id
