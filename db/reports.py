"""What a report shows of a study, and rendered pages."""

from collections.abc import Collection
from typing import LiteralString

from sqlalchemy import Connection, select

from db.bulk import enter, frame
from db.studies import StudyRow, study_row
from db.tables.data import dataset, sample_set
from db.tables.report import comparison_page, report
from db.tables.training import study
from lesionlens.identity import bytes_digest
from lesionlens.records import ReportData

# views that a report shows whole, with the order of their rows
VIEWS: dict[str, LiteralString] = {
    "localization_scores": "run_id, headline DESC, method, target, policy, population, group_name",
    "baseline_differences": "run_id, headline DESC, method, target, policy, population, group_name, baseline",
    "seed_spread": "backbone, strategy, batch_size, head_rate, unit1_rate, name, method, target, policy, population,"
    " group_name",
    "quadrants": "run_id, ordinal, correct DESC, located DESC",
    "subgroup_scores": "run_id, subgroup, level, name, population",
    "calibration": "run_id",
    "reliability_curve": "run_id, bin",
    "binary_scores": "run_id, side, score",
    "roc_curve": "run_id, ordinal, threshold DESC",
    "occlusion_test": "run_id, population, group_name",
    "occlusion_samples": "run_id, sample_id",
    "weight_randomisation": "run_id, step",
    "shortcut_audit": "accuracy, features",
    "table_1_patches": "ordinal",
    "table_2_accuracy": "run_id",
    "table_3_auc": "run_id, ordinal",
    "table_4_localization": "run_id, headline DESC, method, target, policy",
    "confusion_matrix": "run_id, true_ordinal, predicted_ordinal",
    "selected_runs": "run_id",
    "exclusion_reasons": "lesions DESC, reason",
}

RUN: LiteralString = "e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed"
OF_STUDY: LiteralString = "FROM study_evaluations AS e "
STUDY: LiteralString = "e.study_id = %(study_id)s"

QUERIES: dict[str, LiteralString] = {
    name: f"SELECT * FROM {name} WHERE study_id = %(study_id)s ORDER BY {order}"  # noqa: S608
    for name, order in VIEWS.items()
} | {
    "labels": "SELECT l.code, l.name, l.group_name, l.ordinal, l.is_lesion FROM label AS l"
    " JOIN sample_set AS p ON p.dataset_id = l.dataset_id JOIN study AS s ON s.sample_set_id = p.id"
    " WHERE s.id = %(study_id)s ORDER BY l.ordinal",
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
"""Frames of a report by name; rows in a fixed order."""


def report_data(connection: Connection, study_id: int, only: Collection[str] = ()) -> ReportData:
    """Everything a report shows: study fields and frames by name (QUERIES), or `only` the frames named.

    ValueError for an unknown id.
    """
    study_row(connection, study_id)
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
    wanted = only or QUERIES
    frames = {name: frame(connection, query, study_id=study_id) for name, query in QUERIES.items() if name in wanted}
    return ReportData(dict(row._mapping), frames)


def report_inputs(connection: Connection, study_id: int) -> tuple[StudyRow, list[str]]:
    """The study, and what its report depends on: evaluations, unfinished and failed runs with their reasons."""
    found = frame(connection, QUERIES["runs"], study_id=study_id)
    inputs = [
        f"{row['digest']} evaluation {row['evaluation_id']} {row['status']} {row['reason'] or ''}"
        for row in found.iter_rows(named=True)
    ]
    return study_row(connection, study_id), inputs


def save_report(connection: Connection, study_id: int, digest: str, path: str, html: bytes) -> int:
    """Keep a study's page; returns its id, the same for the same digest."""
    return enter(connection, report, {"study_id": study_id, "digest": digest}, {"path": path, "html": html})[0]


def find_report(connection: Connection, study_id: int, digest: str) -> bytes | None:
    """A page as rendered before, or None."""
    return connection.scalar(select(report.c.html).where(report.c.study_id == study_id, report.c.digest == digest))


def newest_report(connection: Connection, study_id: int) -> bytes | None:
    """The page last rendered for a study, or None."""
    pages = select(report.c.html).where(report.c.study_id == study_id)
    return connection.scalar(pages.order_by(report.c.created_at.desc()).limit(1))


def save_comparison(connection: Connection, path: str, html: bytes) -> int:
    """Keep a comparison's page; returns its id, the same for the same page."""
    key = {"digest": bytes_digest([html])}
    return enter(connection, comparison_page, key, {"path": path, "html": html})[0]


def find_comparison(connection: Connection, number: int) -> bytes | None:
    """A comparison as rendered, or None."""
    return connection.scalar(select(comparison_page.c.html).where(comparison_page.c.id == number))
