"""Writing the train and evaluate stages: runs, epochs, checkpoints, evaluations, comparisons."""

from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db import tables
from db.copy import copy_frame, finite
from db.write_data import enter
from lesionlens.config import EvaluationConfig
from lesionlens.records import EpochResult, Evaluation

ROUNDING = 1e-6  # how far beyond [0, 1] floating point may carry a share


def start_run(connection: Connection, run_id: int, device: str) -> None:
    """A run is being trained, from its start or from where it stood."""
    values = {"status": "running", "device": device, "started_at": func.now(), "finished_at": None, "reason": None}
    _update_run(connection, run_id, values)


def finish_run(connection: Connection, run_id: int) -> None:
    """A run is trained to its end."""
    _update_run(connection, run_id, {"status": "finished", "finished_at": func.now(), "reason": None})


def fail_run(connection: Connection, run_id: int, reason: str) -> None:
    """A run cannot be trained, and why."""
    text = reason.replace("\0", "") or "unknown"
    _update_run(connection, run_id, {"status": "failed", "finished_at": func.now(), "reason": text})


def _update_run(connection: Connection, run_id: int, values: dict[str, Any]) -> None:
    if connection.execute(update(tables.run).where(tables.run.c.id == run_id).values(values)).rowcount != 1:
        raise ValueError(f"the record holds no run {run_id}")


def save_epoch(connection: Connection, run_id: int, result: EpochResult) -> None:
    """Enter an epoch and the checkpoints that are on disk after it.

    An epoch trained again replaces what the record held of it and of all later ones, which belong to a
    course that was given up. Raises ValueError where a number is not finite.
    """
    epoch, checkpoint = tables.epoch, tables.checkpoint
    connection.execute(delete(epoch).where(epoch.c.run_id == run_id, epoch.c.epoch >= result.epoch))
    values: dict[str, Any] = {
        name: finite(f"epoch.{name}", getattr(result, name))
        for name in ("train_loss", "validation_loss", "validation_accuracy", "seconds")
    }
    rates = {name: finite(f"epoch.rates.{name}", rate) for name, rate in result.rates.items()}
    connection.execute(
        epoch.insert().values(
            run_id=run_id, epoch=result.epoch, phase=result.phase, rates=rates, improved=result.improved, **values
        )
    )
    for found in result.checkpoints:
        row = {"phase": found.phase, "epoch": found.epoch, "path": found.path}
        row |= {"sha256": found.sha256, "bytes": found.bytes}
        statement = upsert(checkpoint).values(run_id=run_id, role=found.role, **row)
        connection.execute(statement.on_conflict_do_update(index_elements=["run_id", "role"], set_=row))


def plan_evaluations(connection: Connection, study_id: int, digest: str) -> None:
    """Say which evaluations belong to a study. ValueError for an unknown one."""
    study = tables.study
    if connection.execute(update(study).where(study.c.id == study_id).values(evaluation_digest=digest)).rowcount != 1:
        raise ValueError(f"the record holds no study {study_id}")


def save_evaluation(
    connection: Connection, run_id: int, digest: str, config: EvaluationConfig, seconds: float, result: Evaluation
) -> int:
    """Enter everything one evaluation computed; returns its id, the same for the same run and digest.

    Raises ValueError where a number is not finite or a label ordinal is not one of the data set's.
    """
    values = {"config": config.model_dump(mode="json"), "seconds": finite("evaluation.seconds", seconds)}
    evaluation_id, new = enter(connection, tables.evaluation, {"run_id": run_id, "digest": digest}, values)
    if not new:
        return evaluation_id
    labels = _labels(connection, run_id)
    predictions = _with_labels(result.predictions, "predicted", "predicted_label_id", labels)
    confusions = _with_labels(result.confusion_intervals, "predicted", "predicted_label_id", labels)
    confusions = _with_labels(confusions, "label", "label_id", labels)
    for table, frame in (
        (tables.prediction, predictions.with_columns(pl.col("probabilities").list.eval(_clipped(pl.element())))),
        (tables.activation_map, _with_labels(result.explanations, "label", "label_id", labels)),
        (tables.localization, result.localizations),
        (tables.class_score, _with_labels(result.class_scores, "label", "label_id", labels)),
        (tables.confusion_interval, confusions),
        (tables.run_score, result.run_scores),
        (tables.baseline_difference, result.baseline_differences),
        (tables.subgroup_score, result.subgroup_scores),
        (tables.iou_curve, result.iou_curves),
        (tables.quadrant, _with_labels(result.quadrants, "label", "label_id", labels)),
        (tables.reliability, result.reliability),
        (tables.occlusion, result.occlusions),
        (tables.randomisation, result.randomisations),
    ):
        copy_frame(connection, table, _fitted(table, frame, evaluation_id))
    return evaluation_id


def _labels(connection: Connection, run_id: int) -> dict[int, int]:
    """Label ids by ordinal, of the data set that the run was trained on."""
    run, sample_set, label = tables.run, tables.sample_set, tables.label
    found = connection.execute(
        select(label.c.ordinal, label.c.id)
        .join(sample_set, sample_set.c.dataset_id == label.c.dataset_id)
        .join(run, run.c.sample_set_id == sample_set.c.id)
        .where(run.c.id == run_id)
    )
    return {int(ordinal): int(number) for ordinal, number in found}


def _with_labels(frame: pl.DataFrame, ordinal: str, name: str, labels: dict[int, int]) -> pl.DataFrame:
    unknown = set(frame[ordinal].drop_nulls().unique().to_list()) - labels.keys()
    if unknown:
        raise ValueError(f"{name}: the data set has no label with ordinal {', '.join(map(str, sorted(unknown)))}")
    given = pl.col(ordinal).cast(pl.Int64)
    return frame.with_columns(given.replace_strict(labels, return_dtype=pl.Int64).alias(name)).drop(ordinal)


def _fitted(table: Table, frame: pl.DataFrame, evaluation_id: int) -> pl.DataFrame:
    """The table's columns with the evaluation's id; shares that rounding carried beyond [0, 1] are put back."""
    frame = frame.with_columns(evaluation_id=pl.lit(evaluation_id, dtype=pl.Int64))
    names = [column.name for column in table.columns if column.name in frame.columns]
    left_out = set(frame.columns) - set(names)
    if left_out:
        raise ValueError(f"{table.name} has no column {', '.join(sorted(left_out))}")
    shares = [c for c, kind in frame.schema.items() if kind == pl.Float64 and c != "threshold"]
    return frame.with_columns(_clipped(pl.col(c)) for c in shares).select(names)


def _clipped(values: pl.Expr) -> pl.Expr:
    near = values.is_between(-ROUNDING, 1 + ROUNDING)
    return pl.when(near).then(values.clip(0.0, 1.0)).otherwise(values)


def save_comparisons(connection: Connection, study_id: int, frame: pl.DataFrame) -> None:
    """Replace a study's comparisons: columns of table `comparison` without id and study_id."""
    connection.execute(delete(tables.comparison).where(tables.comparison.c.study_id == study_id))
    values = frame.with_columns(_clipped(pl.col("value_a", "value_b")), study_id=pl.lit(study_id, dtype=pl.Int64))
    copy_frame(connection, tables.comparison, values)


def save_study_scores(connection: Connection, study_id: int, frame: pl.DataFrame) -> None:
    """Replace a study's scores over common samples: columns of table `study_score` without id and study_id."""
    connection.execute(delete(tables.study_score).where(tables.study_score.c.study_id == study_id))
    scores = frame.with_columns(_clipped(pl.col("value", "low", "high")), study_id=pl.lit(study_id, dtype=pl.Int64))
    copy_frame(connection, tables.study_score, scores)


def save_shortcuts(connection: Connection, sample_set_id: int, digest: str, frame: pl.DataFrame) -> None:
    """Enter a sample set's shortcut audit, made with the evaluation options of `digest`; an earlier one is replaced."""
    table = tables.shortcut_score
    connection.execute(delete(table).where(table.c.sample_set_id == sample_set_id, table.c.digest == digest))
    keys = {"sample_set_id": pl.lit(sample_set_id, dtype=pl.Int64), "digest": pl.lit(digest)}
    copy_frame(connection, table, frame.with_columns(**keys))
