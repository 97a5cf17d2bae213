"""Reading patch sets: pixels and masks as arrays."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from psycopg import sql
from sqlalchemy import Connection, func, select

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
    count = connection.scalar(select(func.count()).where(tables.patch.c.patch_set_id == patch_set_id)) or 0
    pixels, masks = np.empty((count, size, size), dtype=np.uint8), np.zeros((count, size, size), dtype=np.bool_)
    columns: tuple[list[Any], ...] = ([], [], [], [], [])
    for n, (*values, stored, mask) in enumerate(_rows(connection, patch_set_id)):
        pixels[n] = unpack_pixels(stored)
        if mask is not None:
            masks[n] = unpack_mask(mask, size)
        for column, value in zip(columns, (*values, mask is not None), strict=True):
            column.append(value)
    return PatchArrays(
        digest=digest,
        classes=tuple(code for code, _ in labels),
        ids=np.array(columns[0], dtype=np.int64),
        pixels=pixels,
        masks=masks,
        labels=np.array(columns[1], dtype=np.int64),
        parts=np.array(columns[2], dtype=np.str_),
        patients=np.array(columns[3], dtype=np.str_),
        has_mask=np.array(columns[4], dtype=np.bool_),
        groups=tuple(group for _, group in labels),
        statistics=_statistics(connection, patch_set_id),
    )


def _rows(connection: Connection, patch_set_id: int) -> Iterator[tuple[Any, ...]]:
    """Rows as the server sends them, so that no second copy of the pixels waits in memory."""
    # COPY takes no parameters: psycopg quotes the number
    query = sql.SQL(PATCHES).format(patch_set_id=sql.Literal(patch_set_id))
    with driver(connection).cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types(["int8", "int8", "text", "text", "bytea", "bytea"])
        yield from copy.rows()


def _statistics(connection: Connection, patch_set_id: int) -> tuple[Statistics, ...]:
    normalisation, label = tables.normalisation, tables.label
    found = connection.execute(
        select(label.c.code, normalisation.c.mean, normalisation.c.std)
        .outerjoin_from(normalisation, label, label.c.id == normalisation.c.label_id)
        .where(normalisation.c.patch_set_id == patch_set_id)
        .order_by(normalisation.c.id)
    )
    return tuple(Statistics(code, mean, std) for code, mean, std in found)
