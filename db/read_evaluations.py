"""Reading what evaluations need beyond pixels, and what they found."""

from typing import LiteralString

import polars as pl
from sqlalchemy import Connection, exists, select

from db import tables
from db.frames import frame

ATTRIBUTES: LiteralString = (
    "SELECT p.id AS sample_id, l.lesion_type, l.pathology, p.mask_fraction, l.subtlety, i.breast_density, i.view,"
    " p.window_x1 - p.window_x0 AS window_width, p.window_y1 - p.window_y0 AS window_height"
    " FROM sample AS p JOIN image AS i ON i.id = p.image_id LEFT JOIN lesion AS l ON l.id = p.lesion_id"
    " WHERE p.sample_set_id = %(sample_set_id)s ORDER BY p.id"
)
SAMPLES: LiteralString = (
    "SELECT e.evaluation_id, y.sample_id, i.patient, l.group_name, p.label_id = y.predicted_label_id AS correct"
    " FROM study_evaluations AS e JOIN prediction AS y ON y.evaluation_id = e.evaluation_id"
    " JOIN sample AS p ON p.id = y.sample_id JOIN image AS i ON i.id = p.image_id JOIN label AS l ON l.id = p.label_id"
    " WHERE e.study_id = %(study_id)s ORDER BY e.evaluation_id, y.sample_id"
)
LOCALIZATIONS: LiteralString = (
    "SELECT x.evaluation_id, x.sample_id, x.method, x.target, x.policy, x.iou FROM study_evaluations AS e"
    " JOIN localization AS x ON x.evaluation_id = e.evaluation_id WHERE e.study_id = %(study_id)s"
)
UNCOMPARED: LiteralString = (
    "SELECT e.evaluation_id FROM study_evaluations AS e WHERE e.study_id = %(study_id)s AND NOT EXISTS ("
    "SELECT FROM study_score AS s WHERE s.study_id = e.study_id AND s.evaluation_id = e.evaluation_id) LIMIT 1"
)
# every frame that a report or an analyst may want of a study's evaluations, by view, in the order of its rows
FOUND: dict[str, LiteralString] = {
    "localization_scores": "SELECT * FROM localization_scores WHERE study_id = %(study_id)s"
    " ORDER BY run_id, headline DESC, method, target, policy, population, group_name",
    "baseline_differences": "SELECT * FROM baseline_differences WHERE study_id = %(study_id)s"
    " ORDER BY run_id, headline DESC, method, target, policy, population, group_name, baseline",
    "seed_spread": "SELECT * FROM seed_spread WHERE study_id = %(study_id)s ORDER BY backbone, strategy, batch_size,"
    " head_rate, unit1_rate, name, method, target, policy, population, group_name",
    "iou_curves": "SELECT * FROM iou_curves WHERE study_id = %(study_id)s"
    " ORDER BY run_id, method, target, population, group_name, threshold",
    "quadrants": "SELECT * FROM quadrants WHERE study_id = %(study_id)s"
    " ORDER BY run_id, ordinal, correct DESC, located DESC",
    "subgroup_scores": "SELECT * FROM subgroup_scores WHERE study_id = %(study_id)s"
    " ORDER BY run_id, subgroup, level, name, population",
    "calibration": "SELECT * FROM calibration WHERE study_id = %(study_id)s ORDER BY run_id",
    "reliability_curve": "SELECT * FROM reliability_curve WHERE study_id = %(study_id)s ORDER BY run_id, bin",
    "binary_scores": "SELECT * FROM binary_scores WHERE study_id = %(study_id)s ORDER BY run_id, side, score",
    "roc_curve": "SELECT * FROM roc_curve WHERE study_id = %(study_id)s ORDER BY run_id, ordinal, threshold DESC",
    "occlusion_test": "SELECT * FROM occlusion_test WHERE study_id = %(study_id)s"
    " ORDER BY run_id, population, group_name",
    "occlusion_samples": "SELECT * FROM occlusion_samples WHERE study_id = %(study_id)s ORDER BY run_id, sample_id",
    "weight_randomisation": "SELECT * FROM weight_randomisation WHERE study_id = %(study_id)s ORDER BY run_id, step",
    "shortcut_audit": "SELECT * FROM shortcut_audit WHERE study_id = %(study_id)s ORDER BY accuracy, features",
}


def evaluation_frame(connection: Connection, name: str, study_id: int) -> pl.DataFrame:
    """The rows of one view of FOUND for a study. KeyError for another name."""
    return frame(connection, FOUND[name], study_id=study_id)


def sample_attributes(connection: Connection, sample_set_id: int) -> pl.DataFrame:
    """What subgroups, binary views and the shortcut audit need of every patch, in ascending sample_id.

    Columns: sample_id, lesion_type, pathology, mask_fraction, subtlety (null for background), breast_density, view,
    window_width and window_height (full-image pixels).
    """
    return frame(connection, ATTRIBUTES, sample_set_id=sample_set_id)


def common_samples(connection: Connection, study_id: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What scores over common samples need of a study's evaluations.

    First: evaluation_id, sample_id, patient, group_name, correct; second: evaluation_id, sample_id, method, target,
    policy, iou.
    """
    return frame(connection, SAMPLES, study_id=study_id), frame(connection, LOCALIZATIONS, study_id=study_id)


def has_shortcuts(connection: Connection, sample_set_id: int, digest: str) -> bool:
    """Whether the sample set was audited with the evaluation options of this digest."""
    table = tables.shortcut_score
    found = exists().where(table.c.sample_set_id == sample_set_id, table.c.digest == digest)
    return bool(connection.scalar(select(found)))


def is_compared(connection: Connection, study_id: int) -> bool:
    """Whether every evaluation of the study is in its comparisons and common scores; True without evaluations."""
    missing = frame(connection, UNCOMPARED, study_id=study_id)
    return missing.is_empty()


def study_sample_set(connection: Connection, study_id: int) -> int:
    """Id of a study's sample set. ValueError for an unknown study."""
    found = connection.scalar(select(tables.study.c.sample_set_id).where(tables.study.c.id == study_id))
    if found is None:
        raise ValueError(f"the record holds no study {study_id}")
    return int(found)
