"""What an examination asks of its sample set: how samples are named, and why some lesions have none."""

from typing import LiteralString

import polars as pl
from sqlalchemy import Connection

from db.bulk import frame

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


def sample_windows(connection: Connection, sample_set_id: int) -> pl.DataFrame:
    """Samples of all splits in ascending sample_id: sample (their name), split, label, image; x, y, width and height of
    the window in the image's pixels."""
    return frame(connection, WINDOWS, sample_set_id=sample_set_id)


def exclusion_counts(connection: Connection, sample_set_id: int) -> list[tuple[str, int]]:
    """Reasons of exclusions and notes, with how often each stands."""
    return frame(connection, REASONS, sample_set_id=sample_set_id).rows()
