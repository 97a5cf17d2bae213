"""Evaluations of runs, and what compares them: written by the evaluate step, read by comparisons and audits."""

from datetime import datetime
from typing import Literal, LiteralString

import polars as pl
from sqlalchemy import Connection, Table, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from db.bulk import copy_frame, enter, finite, frame, words
from db.tables import evaluation as samples
from db.tables import external, scores
from db.tables.data import label, sample_set
from db.tables.evaluation import evaluation, evaluation_failure
from db.tables.training import run
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.records import Evaluation

ROUNDING = 1e-6  # how far beyond [0, 1] floating point may carry a proportion

# tables of an evaluation's frames, in the order of their filling: a localization refers to its map
TABLES: dict[str, Table] = {
    "predictions": samples.prediction,
    "maps": samples.activation_map,
    "localizations": samples.localization,
    "class_scores": scores.class_score,
    "confusion_intervals": scores.confusion_interval,
    "run_scores": scores.run_score,
    "baseline_differences": scores.baseline_difference,
    "subgroup_scores": scores.subgroup_score,
    "iou_curves": scores.iou_curve,
    "quadrants": scores.quadrant,
    "reliability": scores.reliability,
    "operating_points": scores.operating_point,
    "validations": scores.validation_score,
    "occlusions": samples.occlusion,
    "swaps": samples.swap,
    "randomisations": scores.randomisation,
    "marks": samples.mark,
    "detections": scores.detection_score,
    "activation_precisions": scores.activation_precision,
    "prototypes": samples.prototype,
    "prototype_matches": samples.prototype_match,
}
# columns of frames that hold label ordinals, and the table's column for the label's id
LABELS = {"label": "label_id", "predicted": "predicted_label_id"}

COMMON: LiteralString = (
    "SELECT e.evaluation_id, y.sample_id, i.patient, l.group_name, s.label_id = y.predicted_label_id AS correct"
    " FROM study_evaluations AS e JOIN prediction AS y ON y.evaluation_id = e.evaluation_id"
    " JOIN sample AS s ON s.id = y.sample_id JOIN image AS i ON i.id = s.image_id JOIN label AS l ON l.id = s.label_id"
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
COMPARED: LiteralString = (
    "SELECT s.evaluation_id, s.sample_id, s.patient, l.is_lesion, s.correct, s.iou"
    " FROM sample_results AS s JOIN sample AS p ON p.id = s.sample_id JOIN label AS l ON l.id = p.label_id"
    " WHERE s.study_id = %(study_id)s ORDER BY s.evaluation_id, s.sample_id"
)
SELECTED: LiteralString = (
    "SELECT e.evaluation_id FROM study_evaluations AS e"
    " JOIN selected_runs AS c ON c.study_id = e.study_id AND c.run_id = e.run_id"
    " WHERE e.study_id = %(study_id)s ORDER BY e.evaluation_id"
)

DECIDED: dict[str, LiteralString] = {
    "evaluations": "SELECT evaluation_id, backbone, strategy, batch_size, head_rate, unit1_rate, guidance, seed"
    " FROM study_evaluations"
    " WHERE study_id = %(study_id)s ORDER BY backbone, strategy, batch_size, head_rate, unit1_rate, guidance, seed",
    "predictions": "SELECT y.evaluation_id, y.sample_id, y.probabilities FROM study_evaluations AS e"
    " JOIN prediction AS y ON y.evaluation_id = e.evaluation_id WHERE e.study_id = %(study_id)s",
    "occlusions": "SELECT o.evaluation_id, o.sample_id, o.variant, o.lesion_probabilities, o.control_probabilities,"
    " o.places, o.lesion_change, o.control_change FROM study_evaluations AS e"
    " JOIN occlusion AS o ON o.evaluation_id = e.evaluation_id WHERE e.study_id = %(study_id)s",
    "swaps": "SELECT w.evaluation_id, w.sample_id, w.donor_id, w.probabilities FROM study_evaluations AS e"
    " JOIN swap AS w ON w.evaluation_id = e.evaluation_id WHERE e.study_id = %(study_id)s"
    " ORDER BY w.evaluation_id, w.sample_id, w.donor_id",
    "localizations": "SELECT x.evaluation_id, x.sample_id, x.method, x.iou, x.dealt_iou, x.random_iou"
    " FROM study_evaluations AS e"
    " JOIN evaluation AS v ON v.id = e.evaluation_id JOIN localization AS x ON x.evaluation_id = e.evaluation_id"
    " WHERE e.study_id = %(study_id)s AND (x.policy = 'mask'"
    " OR x.policy = v.config ->> 'policy' AND x.target = 'predicted')",
}

GUIDED: LiteralString = (
    "SELECT x.evaluation_id, x.sample_id, x.rows, x.grid FROM study_evaluations AS e"
    " JOIN evaluation AS v ON v.id = e.evaluation_id JOIN activation_map AS x ON x.evaluation_id = e.evaluation_id"
    " AND x.method = v.config #>> '{methods,0}' AND x.target = 'predicted' WHERE e.study_id = %(study_id)s"
    " AND EXISTS (SELECT FROM study_evaluations AS g WHERE g.study_id = e.study_id AND g.guidance <> 'none')"
)

# images of one sample set whose pixels are in another, and whether a model of that one was trained or tuned on them
SHARED: LiteralString = (
    "SELECT DISTINCT i.key, i.patient, o.training FROM sample AS s JOIN image AS i ON i.id = s.image_id"
    " JOIN (SELECT m.pixels, bool_or(p.split <> 'test') AS training FROM sample AS p JOIN image AS m"
    " ON m.id = p.image_id WHERE p.sample_set_id = %(own)s GROUP BY m.pixels) AS o ON o.pixels = i.pixels"
    " WHERE s.sample_set_id = %(other)s ORDER BY i.key"
)
SCORED: LiteralString = (
    "SELECT i.patient, l.code, l.is_lesion, p.code AS predicted, y.probabilities, x.iou, m.hit"
    " FROM evaluation AS v JOIN prediction AS y ON y.evaluation_id = v.id JOIN sample AS s ON s.id = y.sample_id"
    " JOIN image AS i ON i.id = s.image_id JOIN label AS l ON l.id = s.label_id"
    " JOIN label AS p ON p.id = y.predicted_label_id LEFT JOIN activation_map AS m ON m.evaluation_id = v.id"
    " AND m.sample_id = y.sample_id AND m.method = v.config #>> '{methods,0}' AND m.target = 'predicted'"
    " LEFT JOIN localization AS x ON x.evaluation_id = v.id AND x.sample_id = m.sample_id AND x.method = m.method"
    " AND x.target = m.target AND x.policy = v.config ->> 'policy' WHERE v.id = %(evaluation_id)s ORDER BY y.sample_id"
)


def save_evaluation(
    connection: Connection, run_id: int, digest: str, config: EvaluationConfig, seconds: float, result: Evaluation
) -> int:
    """Enter everything one evaluation computed; returns its id, the same for the same run and digest.

    Raises ValueError where a number is not finite or a label ordinal is not one of the data set's.
    """
    values = {"config": config.model_dump(mode="json"), "seconds": finite("evaluation.seconds", seconds)}
    evaluation_id, new = enter(connection, evaluation, {"run_id": run_id, "digest": digest}, values)
    if new:
        known = samples.evaluation_failure
        connection.execute(delete(known).where(known.c.run_id == run_id, known.c.digest == digest))
        labels = _labels(connection, run_id)
        for name, table in TABLES.items():
            found = _with_labels(result.frames[name], labels)
            copy_frame(connection, table, _fitted(table, found, evaluation_id))
    return evaluation_id


def _labels(connection: Connection, run_id: int) -> dict[int, int]:
    """Label ids by ordinal, of the data set that the run was trained on."""
    found = connection.execute(
        select(label.c.ordinal, label.c.id)
        .join(sample_set, sample_set.c.dataset_id == label.c.dataset_id)
        .join(run, run.c.sample_set_id == sample_set.c.id)
        .where(run.c.id == run_id)
    )
    return {int(ordinal): int(number) for ordinal, number in found}


def _with_labels(frame: pl.DataFrame, labels: dict[int, int]) -> pl.DataFrame:
    """Label ordinals replaced by ids."""
    for ordinal, name in LABELS.items():
        if ordinal not in frame.columns:
            continue
        unknown = set(frame[ordinal].drop_nulls().unique().to_list()) - labels.keys()
        if unknown:
            raise ValueError(f"{name}: the data set has no label with ordinal {', '.join(map(str, sorted(unknown)))}")
        ids = pl.col(ordinal).cast(pl.Int64).replace_strict(labels, return_dtype=pl.Int64)
        frame = frame.with_columns(ids.alias(name)).drop(ordinal)
    return frame


def _fitted(table: Table, frame: pl.DataFrame, evaluation_id: int) -> pl.DataFrame:
    """The table's columns with the evaluation's id; proportions that rounding carried beyond [0, 1] are put back."""
    frame = frame.with_columns(evaluation_id=pl.lit(evaluation_id, dtype=pl.Int64))
    names = [column.name for column in table.columns if column.name in frame.columns]
    unknown = set(frame.columns) - set(names)
    if unknown:
        raise ValueError(f"{table.name} has no column {', '.join(sorted(unknown))}")
    numbers = [name for name, kind in frame.schema.items() if kind == pl.Float64 and name != "threshold"]
    frame = frame.with_columns(_clipped(pl.col(name)) for name in numbers)
    lists = [name for name in names if name.endswith("probabilities")]
    frame = frame.with_columns(pl.col(name).list.eval(_clipped(pl.element())) for name in lists)
    return frame.select(names)


def _clipped(values: pl.Expr) -> pl.Expr:
    near = values.is_between(-ROUNDING, 1 + ROUNDING)
    return pl.when(near).then(values.clip(0.0, 1.0)).otherwise(values)


def save_comparisons(connection: Connection, study_id: int, frame: pl.DataFrame) -> None:
    """Replace a study's comparisons: columns of table `comparison` without id and study_id."""
    _replace(connection, scores.comparison, frame.with_columns(_clipped(pl.col("value_a", "value_b"))), study_id)


def save_study_scores(connection: Connection, study_id: int, frame: pl.DataFrame) -> None:
    """Replace a study's scores over common samples: columns of table `study_score` without id and study_id."""
    _replace(connection, scores.study_score, frame.with_columns(_clipped(pl.col("value", "low", "high"))), study_id)


def save_decisions(connection: Connection, study_id: int, frame: pl.DataFrame) -> None:
    """Replace what a study's answer rests on: columns of table `decision` without id and study_id."""
    _replace(connection, scores.decision, frame, study_id)


def _replace(connection: Connection, table: Table, frame: pl.DataFrame, study_id: int) -> None:
    connection.execute(delete(table).where(table.c.study_id == study_id))
    copy_frame(connection, table, frame.with_columns(study_id=pl.lit(study_id, dtype=pl.Int64)))


def save_shortcuts(connection: Connection, sample_set_id: int, digest: str, frame: pl.DataFrame) -> None:
    """Enter a sample set's shortcut audit, made with the evaluation options of `digest`; an earlier one is replaced."""
    table = scores.shortcut_score
    connection.execute(delete(table).where(table.c.sample_set_id == sample_set_id, table.c.digest == digest))
    keys = {"sample_set_id": pl.lit(sample_set_id, dtype=pl.Int64), "digest": pl.lit(digest)}
    copy_frame(connection, table, frame.with_columns(**keys))


def has_shortcuts(connection: Connection, sample_set_id: int, digest: str) -> bool:
    """Whether the sample set was audited with the evaluation options of this digest."""
    table = scores.shortcut_score
    found = exists().where(table.c.sample_set_id == sample_set_id, table.c.digest == digest)
    return bool(connection.scalar(select(found)))


def is_compared(connection: Connection, study_id: int) -> bool:
    """Whether every evaluation of the study is in its comparisons and common scores; True without evaluations."""
    return frame(connection, UNCOMPARED, study_id=study_id).is_empty()


def common_samples(connection: Connection, study_id: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What scores over common samples need of a study's evaluations.

    First: evaluation_id, sample_id, patient, group_name, correct; second: evaluation_id, sample_id, method, target,
    policy, iou.
    """
    return frame(connection, COMMON, study_id=study_id), frame(connection, LOCALIZATIONS, study_id=study_id)


def comparison_samples(connection: Connection, study_id: int) -> tuple[pl.DataFrame, list[int]]:
    """What comparisons need of a study's evaluations.

    First: evaluation_id, sample_id, patient, is_lesion, correct, iou; second: the evaluations of selected runs.
    """
    selected: list[int] = frame(connection, SELECTED, study_id=study_id)["evaluation_id"].to_list()
    return frame(connection, COMPARED, study_id=study_id), selected


def decided(connection: Connection, study_id: int) -> dict[str, pl.DataFrame]:
    """What the decisions of a study's cells are made of: frames evaluations, predictions, occlusions, swaps and
    localizations (of the headline policy, predicted class, baselines and ceiling), each with evaluation_id."""
    return {name: frame(connection, query, study_id=study_id) for name, query in DECIDED.items()}


def guided_maps(connection: Connection, study_id: int) -> pl.DataFrame:
    """Headline maps of a study with guided runs, of all its runs: evaluation_id, sample_id, rows, grid. Else empty."""
    return frame(connection, GUIDED, study_id=study_id)


def find_evaluation(connection: Connection, run_id: int, digest: str) -> int | None:
    """Id of a run's evaluation of this digest, or None."""
    own = (evaluation.c.run_id == run_id) & (evaluation.c.digest == digest)
    return connection.scalar(select(evaluation.c.id).where(own))


def shared_images(connection: Connection, own: int, other: int) -> pl.DataFrame:
    """Images of sample set `other` whose pixels are in set `own`, too: key, patient, training (in a split of `own` that
    models learn from)."""
    return frame(connection, SHARED, own=own, other=other)


def scored_samples(connection: Connection, evaluation_id: int) -> pl.DataFrame:
    """An evaluation sample by sample: patient, code, is_lesion, predicted, probabilities, iou and hit of the headline
    method and policy."""
    return frame(connection, SCORED, evaluation_id=evaluation_id)


def save_external(
    connection: Connection, evaluation_id: int, values: dict[str, int | bool | list[str]], scored: pl.DataFrame
) -> None:
    """Enter what an evaluation on another data set is compared with, and the comparison.

    values: columns of table `external_evaluation`, scored: of `external_score`, both without evaluation_id.
    """
    connection.execute(external.external_evaluation.insert().values(evaluation_id=evaluation_id, **values))
    copy_frame(connection, external.external_score, scored.with_columns(evaluation_id=pl.lit(evaluation_id, pl.Int64)))


def fail(connection: Connection, run_id: int, digest: str, reason: str) -> None:
    """The evaluation of this digest failed for the given reason; the run itself stays as it is."""
    row = {"reason": words(reason), "failed_at": func.now()}
    entered = upsert(evaluation_failure).values(run_id=run_id, digest=digest, **row)
    connection.execute(entered.on_conflict_do_update(index_elements=["run_id", "digest"], set_=row))


def outcome(connection: Connection, run_id: int, digest: str, since: datetime) -> Literal["finished", "failed"] | None:
    """How a run's evaluation of this digest ended: finished whenever, or failed after `since`; None if it is to do."""
    own = (evaluation.c.run_id == run_id) & (evaluation.c.digest == digest)
    if connection.scalar(select(exists().where(own))):
        return "finished"
    failed = (evaluation_failure.c.run_id == run_id) & (evaluation_failure.c.digest == digest)
    return (
        "failed" if connection.scalar(select(exists().where(failed, evaluation_failure.c.failed_at > since))) else None
    )
