"""Samples of a set as arrays and frames: pixels, masks, windows, what subgroups need, the lesions that films show."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import numpy as np
import polars as pl
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection, func, select

from db.bulk import driver, frame
from db.datasets import sample_set_digest
from db.tables.data import label, normalisation, sample, sample_set
from lesionlens.records import SampleArrays, Statistics
from lesionlens.samples.normalise import unpack_mask, unpack_pixels
from lesionlens.settings import home

# ordinal instead of label id: arrays know classes by position
SAMPLES = """COPY (
    SELECT sample.id, label.ordinal::int8, sample.split, image.patient, sample.pixels, sample.mask, sample.breast
    FROM sample JOIN label ON label.id = sample.label_id JOIN image ON image.id = sample.image_id
    WHERE sample.sample_set_id = {sample_set_id}
    ORDER BY sample.id
) TO STDOUT (FORMAT BINARY)"""

ATTRIBUTES: LiteralString = """
    SELECT
        s.id AS sample_id, l.lesion_type, l.pathology, s.mask_fraction, l.subtlety, i.breast_density, i.view,
        i.laterality,
        s.window_x1 - s.window_x0 AS window_width, s.window_y1 - s.window_y0 AS window_height
    FROM sample AS s JOIN image AS i ON i.id = s.image_id LEFT JOIN lesion AS l ON l.id = s.lesion_id
    WHERE s.sample_set_id = %(sample_set_id)s
    ORDER BY s.id"""

SHOWN: LiteralString = """
    SELECT x.sample_id, lesion.key, lesion.lesion_type, label.ordinal, x.x0, x.y0, x.x1, x.y1
    FROM sample_lesion AS x JOIN sample ON sample.id = x.sample_id JOIN lesion ON lesion.id = x.lesion_id
    JOIN label ON label.id = lesion.label_id
    WHERE sample.sample_set_id = %(sample_set_id)s
    ORDER BY x.sample_id, x.lesion_id"""
WINDOWS: LiteralString = """
    SELECT
        s.id AS sample_id, s.key AS sample, s.split, l.code AS label, i.path AS image, s.window_x0 AS x,
        s.window_y0 AS y, s.window_x1 - s.window_x0 AS width, s.window_y1 - s.window_y0 AS height
    FROM sample AS s JOIN image AS i ON i.id = s.image_id JOIN label AS l ON l.id = s.label_id
    WHERE s.sample_set_id = %(sample_set_id)s
    ORDER BY s.id"""
REASONS: LiteralString = """
    SELECT reason, count(*) AS n FROM exclusion WHERE sample_set_id = %(sample_set_id)s
    GROUP BY reason ORDER BY n DESC, reason"""


def sample_attributes(connection: Connection, sample_set_id: int) -> pl.DataFrame:
    """What subgroups, binary views and the shortcut audit need of every sample, in ascending sample_id.

    Columns: sample_id, lesion_type, pathology, mask_fraction, subtlety (null for background), breast_density, view,
    laterality, window_width and window_height (full-image pixels).
    """
    return frame(connection, ATTRIBUTES, sample_set_id=sample_set_id)


def shown_lesions(connection: Connection, sample_set_id: int) -> pl.DataFrame:
    """Every lesion that a set's films show: sample_id, key, lesion_type, ordinal of its class, and its box x0, y0, x1,
    y1 in the sample's pixels; in ascending sample_id, no rows for patches.
    """
    return frame(connection, SHOWN, sample_set_id=sample_set_id)


def sample_windows(connection: Connection, sample_set_id: int) -> pl.DataFrame:
    """Samples of all splits in ascending sample_id: sample (their name), split, label, image; x, y, width and height of
    the window in the image's pixels."""
    return frame(connection, WINDOWS, sample_set_id=sample_set_id)


def exclusion_counts(connection: Connection, sample_set_id: int) -> list[tuple[str, int]]:
    """Reasons of exclusions and notes, with how often each stands."""
    return frame(connection, REASONS, sample_set_id=sample_set_id).rows()


def load_samples(connection: Connection, sample_set_id: int) -> SampleArrays:
    """All samples of a set, in ascending id. ValueError for an unknown id.

    Pixels of films are written once to the cache's folder `pixels` and mapped into memory from there.
    """
    digest = sample_set_digest(connection, sample_set_id)
    labels = connection.execute(
        select(label.c.code, label.c.group_name)
        .join(sample_set, sample_set.c.dataset_id == label.c.dataset_id)
        .where(sample_set.c.id == sample_set_id)
        .order_by(label.c.ordinal)
    ).all()
    shape = select(sample_set.c.height, sample_set.c.width, sample_set.c.scale)
    height, width, scale = connection.execute(shape.where(sample_set.c.id == sample_set_id)).one()
    count = connection.scalar(select(func.count()).where(sample.c.sample_set_id == sample_set_id)) or 0
    coarse = height // scale, width // scale
    masks = np.zeros((count, *coarse), dtype=np.bool_)
    breasts = np.ones_like(masks) if scale > 1 else None
    columns: tuple[list[Any], ...] = ([], [], [], [], [])
    with mapped(digest, (count, height, width), scale > 1) as pixels:
        for n, (*values, stored, mask, breast) in enumerate(_rows(connection, sample_set_id)):
            pixels[n] = unpack_pixels(stored, (height, width))
            if mask is not None:
                masks[n] = unpack_mask(mask, coarse)
            if breasts is not None and breast is not None:
                breasts[n] = unpack_mask(breast, coarse)
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
        statistics=statistics(connection, sample_set_id),
        breasts=breasts,
    )


@contextmanager
def mapped(digest: str, shape: tuple[int, int, int], on_disk: bool) -> Iterator[NDArray[np.uint8]]:
    """An array uint8 of that shape to be filled, in memory or `on_disk`, under a name that tells the set.

    A file that another process fills meanwhile is left to it: both write the same bytes, each to a file of its own.
    """
    if not on_disk or not shape[0]:
        yield np.empty(shape, dtype=np.uint8)
        return
    folder = home().ensure().cache / "pixels"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest}.{os.getpid()}.u8"
    found = np.memmap(path, dtype=np.uint8, mode="w+", shape=shape)
    path.unlink()  # the map keeps it while it is in use, and no file is left behind
    yield found


def _rows(connection: Connection, sample_set_id: int) -> Iterator[tuple[Any, ...]]:
    """Rows as the server sends them, so that no second copy of the pixels waits in memory."""
    # COPY takes no parameters: psycopg quotes the number
    query = sql.SQL(SAMPLES).format(sample_set_id=sql.Literal(sample_set_id))
    with driver(connection).cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types(["int8", "int8", "text", "text", "bytea", "bytea", "bytea"])
        yield from copy.rows()


def statistics(connection: Connection, sample_set_id: int) -> tuple[Statistics, ...]:
    """Grey statistics of a set's training split: of all its samples, then of each class."""
    found = connection.execute(
        select(label.c.code, normalisation.c.mean, normalisation.c.std)
        .outerjoin_from(normalisation, label, label.c.id == normalisation.c.label_id)
        .where(normalisation.c.sample_set_id == sample_set_id)
        .order_by(normalisation.c.id)
    )
    return tuple(Statistics(code, mean, std) for code, mean, std in found)
