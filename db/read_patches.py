"""Reading patch sets: pixels and masks as arrays."""

from collections.abc import Sequence

import numpy as np
from psycopg import sql
from sqlalchemy import Connection, select

from db import tables
from db.copy import driver
from lesionlens.data.stored import unpack_mask, unpack_pixels
from lesionlens.records import PatchArrays, Statistics

# ordinal instead of label id: arrays know classes by position
PATCHES = """COPY (
    SELECT patch.id, label.ordinal::int8, patch.part, image.patient, patch.pixels, patch.mask
    FROM patch JOIN label ON label.id = patch.label_id JOIN image ON image.id = patch.image_id
    WHERE patch.patch_set_id = {patch_set_id}
    ORDER BY patch.id
) TO STDOUT (FORMAT BINARY)"""


def find_patch_set(connection: Connection, digest: str) -> int | None:
    """Id of the finished patch set with this digest, or None."""
    patch_set = tables.patch_set
    finished = patch_set.c.finished_at.is_not(None)
    return connection.scalar(select(patch_set.c.id).where(patch_set.c.digest == digest, finished))


def patch_set_digest(connection: Connection, patch_set_id: int) -> str:
    """Digest of a patch set. ValueError for an unknown id."""
    found: str | None = connection.scalar(
        select(tables.patch_set.c.digest).where(tables.patch_set.c.id == patch_set_id)
    )
    if found is None:
        raise ValueError(f"the record holds no patch set {patch_set_id}")
    return found


def load_patches(connection: Connection, patch_set_id: int) -> PatchArrays:
    """All patches of a set, in ascending id. ValueError for an unknown id."""
    digest = patch_set_digest(connection, patch_set_id)
    patch_set, label = tables.patch_set, tables.label
    labels = connection.execute(
        select(label.c.code, label.c.group_name)
        .join(patch_set, patch_set.c.dataset_id == label.c.dataset_id)
        .where(patch_set.c.id == patch_set_id)
        .order_by(label.c.ordinal)
    ).all()
    size = connection.execute(select(patch_set.c.size).where(patch_set.c.id == patch_set_id)).scalar_one()
    rows = _rows(connection, patch_set_id)
    columns: Sequence[Sequence[object]] = list(zip(*rows, strict=True)) if rows else [()] * 6
    shape = (len(rows), size, size)
    pixels, masks = np.empty(shape, dtype=np.uint8), np.zeros(shape, dtype=np.bool_)
    for n, row in enumerate(rows):
        pixels[n] = unpack_pixels(row[4])
        if row[5] is not None:
            masks[n] = unpack_mask(row[5], size)
    return PatchArrays(
        digest=digest,
        classes=tuple(code for code, _ in labels),
        ids=np.array(columns[0], dtype=np.int64),
        pixels=pixels,
        masks=masks,
        labels=np.array(columns[1], dtype=np.int64),
        parts=np.array(columns[2], dtype=np.str_),
        patients=np.array(columns[3], dtype=np.str_),
        has_mask=np.array([row[5] is not None for row in rows], dtype=np.bool_),
        groups=tuple(group for _, group in labels),
        statistics=_statistics(connection, patch_set_id),
    )


def _rows(connection: Connection, patch_set_id: int) -> list[tuple[int, int, str, str, bytes, bytes | None]]:
    # COPY takes no parameters: psycopg quotes the number
    query = sql.SQL(PATCHES).format(patch_set_id=sql.Literal(patch_set_id))
    with driver(connection).cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types(["int8", "int8", "text", "text", "bytea", "bytea"])
        return list(copy.rows())


def _statistics(connection: Connection, patch_set_id: int) -> tuple[Statistics, ...]:
    normalisation, label = tables.normalisation, tables.label
    found = connection.execute(
        select(label.c.code, normalisation.c.mean, normalisation.c.std)
        .outerjoin_from(normalisation, label, label.c.id == normalisation.c.label_id)
        .where(normalisation.c.patch_set_id == patch_set_id)
        .order_by(normalisation.c.id)
    )
    return tuple(Statistics(code, mean, std) for code, mean, std in found)
