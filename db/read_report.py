"""Reading what comparisons and reports show."""

from collections.abc import Collection
from typing import LiteralString

import polars as pl
from sqlalchemy import Connection, select

from db import tables
from db.frames import frame
from db.read_evaluations import FOUND
from db.read_runs import StudyRow, study_row
from lesionlens.records import ReportData

OF_STUDY: LiteralString = "FROM study_evaluations AS e "
STUDY: LiteralString = "e.study_id = %(study_id)s"
RUN: LiteralString = "e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed"

QUERIES: dict[str, LiteralString] = {
    "labels": "SELECT l.code, l.name, l.group_name, l.ordinal, l.is_lesion FROM label AS l"
    " JOIN sample_set AS p ON p.dataset_id = l.dataset_id JOIN study AS s ON s.sample_set_id = p.id"
    " WHERE s.id = %(study_id)s ORDER BY l.ordinal",
    "table_1_patches": "SELECT * FROM table_1_patches WHERE study_id = %(study_id)s ORDER BY ordinal",
    "table_2_accuracy": "SELECT * FROM table_2_accuracy WHERE study_id = %(study_id)s ORDER BY run_id",
    "table_3_auc": "SELECT * FROM table_3_auc WHERE study_id = %(study_id)s ORDER BY run_id, ordinal",
    "table_4_localization": "SELECT * FROM table_4_localization WHERE study_id = %(study_id)s"
    " ORDER BY run_id, headline DESC, method, target, policy",
    "confusion_matrix": "SELECT * FROM confusion_matrix WHERE study_id = %(study_id)s"
    " ORDER BY run_id, true_ordinal, predicted_ordinal",
    "selected_runs": "SELECT * FROM selected_runs WHERE study_id = %(study_id)s ORDER BY run_id",
    "class_scores": f"SELECT {RUN}, l.ordinal, l.code, c.precision, c.recall, c.f1, c.support, c.auc, c.auc_hard,"
    " c.precision_low, c.precision_high, c.recall_low, c.recall_high, c.f1_low, c.f1_high, c.auc_low, c.auc_high,"
    f" c.auc_hard_low, c.auc_hard_high, c.reason {OF_STUDY} JOIN class_score AS c ON c.evaluation_id = e.evaluation_id"
    f" JOIN label AS l ON l.id = c.label_id WHERE {STUDY} ORDER BY e.run_id, l.ordinal",
    "run_scores": f"SELECT {RUN}, r.name, r.method, r.target, r.policy, r.population, r.group_name, r.value, r.low,"
    f" r.high, r.n, r.reason {OF_STUDY} JOIN run_score AS r ON r.evaluation_id = e.evaluation_id"
    f" WHERE {STUDY} ORDER BY e.run_id, r.id",
    "epochs": "SELECT r.id AS run_id, r.backbone, r.strategy, r.batch_size, r.unit1_rate, r.seed, p.epoch, p.phase,"
    " p.train_loss, p.validation_loss, p.validation_accuracy, p.seconds, p.rates, p.improved FROM study_run AS s"
    " JOIN run AS r ON r.id = s.run_id JOIN epoch AS p ON p.run_id = r.id"
    " WHERE s.study_id = %(study_id)s ORDER BY r.id, p.epoch",
    "sample_results": f"SELECT s.* {OF_STUDY} JOIN sample_results AS s ON s.evaluation_id = e.evaluation_id"
    f" WHERE {STUDY} ORDER BY s.run_id, s.sample_id",
    "gallery": "SELECT p.id AS sample_id, l.code AS true_code, l.group_name AS group, p.pixels, p.mask"
    " FROM study AS s JOIN sample AS p ON p.sample_set_id = s.sample_set_id AND p.split = 'test'"
    " JOIN label AS l ON l.id = p.label_id WHERE s.id = %(study_id)s ORDER BY p.id",
    "maps": f"SELECT {RUN}, x.sample_id, x.method, x.target, x.rows, x.cols, x.grid {OF_STUDY}"
    " JOIN evaluation AS v ON v.id = e.evaluation_id JOIN activation_map AS x ON x.evaluation_id = e.evaluation_id"
    f" AND x.method = v.config #>> '{{methods,0}}' WHERE {STUDY} ORDER BY e.run_id, x.sample_id, x.target",
    "contact_sheet": "SELECT l.code, l.name, i.key AS image_key, i.patient, i.laterality, i.view, x.split, x.window_x0,"
    " x.window_y0, x.window_x1, x.window_y1, x.pixels, x.mask, i.width, i.height, o.pixels AS overview FROM ("
    "SELECT p.*, row_number() OVER (PARTITION BY p.label_id ORDER BY p.id) AS place FROM ("
    "SELECT DISTINCT ON (sample.label_id, sample.image_id) sample.* FROM study JOIN sample USING (sample_set_id)"
    " JOIN overview ON overview.image_id = sample.image_id WHERE study.id = %(study_id)s"
    " ORDER BY sample.label_id, sample.image_id, sample.id) AS p) AS x"
    " JOIN overview AS o ON o.image_id = x.image_id JOIN image AS i ON i.id = x.image_id"
    " JOIN label AS l ON l.id = x.label_id WHERE x.place <= 4 ORDER BY l.ordinal, x.id",
    "exclusion_reasons": "SELECT * FROM exclusion_reasons WHERE study_id = %(study_id)s ORDER BY lesions DESC, reason",
    "exclusions": "SELECT i.key AS image_key, l.key AS lesion_key, x.reason, x.detail FROM study AS s"
    " JOIN exclusion AS x ON x.sample_set_id = s.sample_set_id JOIN image AS i ON i.id = x.image_id"
    " LEFT JOIN lesion AS l ON l.id = x.lesion_id WHERE s.id = %(study_id)s ORDER BY x.id",
    "split_check": "SELECT c.unit, c.split_a, c.split_b, c.shared, c.examples FROM study AS s"
    " JOIN split_check AS c ON c.sample_set_id = s.sample_set_id WHERE s.id = %(study_id)s ORDER BY c.id",
    "official_overlap": "SELECT unit, shared, examples FROM official_overlap WHERE study_id = %(study_id)s"
    " ORDER BY unit DESC",
    "normalisation": "SELECT l.code, n.mean, n.std FROM study AS s"
    " JOIN normalisation AS n ON n.sample_set_id = s.sample_set_id LEFT JOIN label AS l ON l.id = n.label_id"
    " WHERE s.id = %(study_id)s ORDER BY l.ordinal NULLS FIRST",
    "runs": "SELECT r.id AS run_id, v.id AS evaluation_id, r.digest, r.backbone, r.strategy, r.batch_size, r.head_rate,"
    " r.unit1_rate, r.seed, r.normalise, r.weights, r.status, r.reason, r.device, r.started_at, r.finished_at,"
    " extract(epoch FROM r.finished_at - r.started_at)::double precision AS seconds,"
    " v.seconds AS evaluation_seconds FROM study AS s JOIN study_run AS sr ON sr.study_id = s.id"
    " JOIN run AS r ON r.id = sr.run_id"
    " LEFT JOIN evaluation AS v ON v.run_id = r.id AND v.digest = s.evaluation_digest"
    " WHERE s.id = %(study_id)s ORDER BY r.id",
    "comparison": "SELECT c.evaluation_a, c.evaluation_b, a.run_id AS run_a, b.run_id AS run_b, c.score, c.value_a,"
    " c.value_b, c.difference, c.low, c.high, c.p, c.p_holm, c.n FROM comparison AS c"
    " JOIN evaluation AS a ON a.id = c.evaluation_a JOIN evaluation AS b ON b.id = c.evaluation_b"
    " WHERE c.study_id = %(study_id)s ORDER BY c.id",
    "iou_curves": "SELECT * FROM iou_curves WHERE study_id = %(study_id)s AND population = 'correct_lesions'"
    " AND group_name = 'all' ORDER BY run_id, method, target, threshold",
}

SAMPLES: LiteralString = (
    "SELECT s.evaluation_id, s.sample_id, s.patient, l.is_lesion, s.correct, s.iou"
    f" {OF_STUDY} JOIN sample_results AS s ON s.evaluation_id = e.evaluation_id"
    " JOIN sample AS p ON p.id = s.sample_id JOIN label AS l ON l.id = p.label_id"
    f" WHERE {STUDY} ORDER BY s.evaluation_id, s.sample_id"
)
SELECTED: LiteralString = (
    f"SELECT e.evaluation_id {OF_STUDY} JOIN selected_runs AS c ON c.study_id = e.study_id AND c.run_id = e.run_id"
    f" WHERE {STUDY} ORDER BY e.evaluation_id"
)


def comparison_samples(connection: Connection, study_id: int) -> tuple[pl.DataFrame, list[int]]:
    """What comparisons need of a study's evaluations.

    First: evaluation_id, sample_id, patient, is_lesion, correct, iou; second: the evaluations of selected runs.
    """
    selected: list[int] = frame(connection, SELECTED, study_id=study_id)["evaluation_id"].to_list()
    return frame(connection, SAMPLES, study_id=study_id), selected


def report_inputs(connection: Connection, study_id: int) -> tuple[StudyRow, list[str]]:
    """The study, and what its report depends on: evaluations, unfinished and failed runs with their reasons."""
    study = study_row(connection, study_id)
    found = frame(connection, QUERIES["runs"], study_id=study_id)
    inputs = [
        f"{row['digest']} evaluation {row['evaluation_id']} {row['status']} {row['reason'] or ''}"
        for row in found.iter_rows(named=True)
    ]
    return study, inputs


def find_report(connection: Connection, study_id: int, digest: str) -> bytes | None:
    """A page as rendered before, or None."""
    report = tables.report
    return connection.scalar(select(report.c.html).where(report.c.study_id == study_id, report.c.digest == digest))


def newest_report(connection: Connection, study_id: int) -> bytes | None:
    """The page last rendered for a study, or None."""
    report = tables.report
    return connection.scalar(
        select(report.c.html).where(report.c.study_id == study_id).order_by(report.c.created_at.desc()).limit(1)
    )


def comparison_page(connection: Connection, number: int) -> bytes | None:
    """A comparison as rendered, or None."""
    page = tables.comparison_page
    return connection.scalar(select(page.c.html).where(page.c.id == number))


def report_data(connection: Connection, study_id: int, only: Collection[str] = ()) -> ReportData:
    """Everything a report shows: study fields and frames by name (QUERIES, FOUND), or `only` the frames named.

    ValueError for an unknown id.
    """
    study_row(connection, study_id)
    study, sample_set, dataset = tables.study, tables.sample_set, tables.dataset
    row = connection.execute(
        select(
            study.c.id,
            study.c.name,
            study.c.digest,
            study.c.config,
            study.c.versions,
            study.c.created_at,
            dataset.c.name.label("dataset_name"),
            dataset.c.kind.label("dataset_kind"),
            dataset.c.digest.label("dataset_digest"),
            sample_set.c.digest.label("sample_set_digest"),
        )
        .join(sample_set, sample_set.c.id == study.c.sample_set_id)
        .join(dataset, dataset.c.id == sample_set.c.dataset_id)
        .where(study.c.id == study_id)
    ).one()
    wanted = {name: query for name, query in (FOUND | QUERIES).items() if not only or name in only}
    frames = {name: frame(connection, query, study_id=study_id) for name, query in wanted.items()}
    return ReportData(dict(row._mapping), frames)
