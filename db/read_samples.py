"""Reading sample sets: pixels and masks as arrays."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from psycopg import sql
from sqlalchemy import Connection, func, select

from db import tables
from db.copy import driver
from lesionlens.records import SampleArrays, Statistics
from lesionlens.samples.normalise import unpack_mask, unpack_pixels

# ordinal instead of label id: arrays know classes by position
PATCHES = """COPY (
    SELECT sample.id, label.ordinal::int8, sample.split, image.patient, sample.pixels, sample.mask
    FROM sample JOIN label ON label.id = sample.label_id JOIN image ON image.id = sample.image_id
    WHERE sample.sample_set_id = {sample_set_id}
    ORDER BY sample.id
) TO STDOUT (FORMAT BINARY)"""


def find_sample_set(connection: Connection, digest: str) -> int | None:
    """Id of the finished sample set with this digest, or None."""
    sample_set = tables.sample_set
    finished = sample_set.c.finished_at.is_not(None)
    return connection.scalar(select(sample_set.c.id).where(sample_set.c.digest == digest, finished))


def sample_set_digest(connection: Connection, sample_set_id: int) -> str:
    """Digest of a sample set. ValueError for an unknown id."""
    found: str | None = connection.scalar(
        select(tables.sample_set.c.digest).where(tables.sample_set.c.id == sample_set_id)
    )
    if found is None:
        raise ValueError(f"the record holds no sample set {sample_set_id}")
    return found


def load_samples(connection: Connection, sample_set_id: int) -> SampleArrays:
    """All patches of a set, in ascending id. ValueError for an unknown id."""
    digest = sample_set_digest(connection, sample_set_id)
    sample_set, label = tables.sample_set, tables.label
    labels = connection.execute(
        select(label.c.code, label.c.group_name)
        .join(sample_set, sample_set.c.dataset_id == label.c.dataset_id)
        .where(sample_set.c.id == sample_set_id)
        .order_by(label.c.ordinal)
    ).all()
    size = connection.execute(select(sample_set.c.size).where(sample_set.c.id == sample_set_id)).scalar_one()
    count = connection.scalar(select(func.count()).where(tables.sample.c.sample_set_id == sample_set_id)) or 0
    pixels, masks = np.empty((count, size, size), dtype=np.uint8), np.zeros((count, size, size), dtype=np.bool_)
    columns: tuple[list[Any], ...] = ([], [], [], [], [])
    for n, (*values, stored, mask) in enumerate(_rows(connection, sample_set_id)):
        pixels[n] = unpack_pixels(stored)
        if mask is not None:
            masks[n] = unpack_mask(mask, size)
        for column, value in zip(columns, (*values, mask is not None), strict=True):
            column.append(value)
    return SampleArrays(
        digest=digest,
        classes=tuple(code for code, _ in labels),
        ids=np.array(columns[0], dtype=np.int64),
        pixels=pixels,
        masks=masks,
        labels=np.array(columns[1], dtype=np.int64),
        splits=np.array(columns[2], dtype=np.str_),
        patients=np.array(columns[3], dtype=np.str_),
        has_mask=np.array(columns[4], dtype=np.bool_),
        groups=tuple(group for _, group in labels),
        statistics=_statistics(connection, sample_set_id),
    )


def _rows(connection: Connection, sample_set_id: int) -> Iterator[tuple[Any, ...]]:
    """Rows as the server sends them, so that no second copy of the pixels waits in memory."""
    # COPY takes no parameters: psycopg quotes the number
    query = sql.SQL(PATCHES).format(sample_set_id=sql.Literal(sample_set_id))
    with driver(connection).cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types(["int8", "int8", "text", "text", "bytea", "bytea"])
        yield from copy.rows()


def _statistics(connection: Connection, sample_set_id: int) -> tuple[Statistics, ...]:
    normalisation, label = tables.normalisation, tables.label
    found = connection.execute(
        select(label.c.code, normalisation.c.mean, normalisation.c.std)
        .outerjoin_from(normalisation, label, label.c.id == normalisation.c.label_id)
        .where(normalisation.c.sample_set_id == sample_set_id)
        .order_by(normalisation.c.id)
    )
    return tuple(Statistics(code, mean, std) for code, mean, std in found)
