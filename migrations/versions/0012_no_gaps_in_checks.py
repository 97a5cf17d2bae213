"""Checks without gaps: no NULL inside an array, no empty probabilities, no NaN. Comments for what had none."""

from collections.abc import Sequence

from alembic import op

revision: str = "0012"
down_revision: str | Sequence[str] | None = "0011"
branch_labels = None
depends_on = None

# a comparison with NULL is NULL, and a check lets NULL pass; NaN is above every number
CHECKS = {
    ("prediction", "range"): (
        "0 <= ALL (probabilities) AND 1 >= ALL (probabilities)",
        "0 <= ALL (probabilities) AND 1 >= ALL (probabilities) AND array_position(probabilities, NULL) IS NULL",
    ),
    ("prediction", "total"): (
        "abs(array_total(probabilities) - 1) <= 1e-4",
        "cardinality(probabilities) > 0 AND abs(array_total(probabilities) - 1) <= 1e-4",
    ),
    ("activation_map", "grid_finite"): (
        "'-infinity' < ALL (grid) AND 'infinity' > ALL (grid)",
        "'-infinity' < ALL (grid) AND 'infinity' > ALL (grid) AND array_position(grid, NULL) IS NULL",
    ),
    ("activation_map", "iou_curve"): (
        "0 <= ALL (iou_curve) AND 1 >= ALL (iou_curve)",
        "0 <= ALL (iou_curve) AND 1 >= ALL (iou_curve) AND array_position(iou_curve, NULL) IS NULL",
    ),
    ("activation_map", "null_has_reason"): (
        "num_nulls(hit, energy, rank_accuracy, pixel_ap) = 0 OR reason IS NOT NULL OR target = 'none'",
        "num_nulls(iou_curve, hit, energy, rank_accuracy, pixel_ap) = 0 OR reason IS NOT NULL OR target = 'none'",
    ),
    ("epoch", "counts"): (
        "epoch >= 1 AND phase >= 1 AND seconds >= 0",
        "epoch >= 1 AND phase >= 1 AND seconds >= 0 AND seconds < 'infinity'",
    ),
    ("run", "rates"): (
        "batch_size > 0 AND head_rate > 0 AND unit1_rate > 0",
        "batch_size > 0 AND head_rate > 0 AND unit1_rate > 0 AND greatest(head_rate, unit1_rate) < 'infinity'",
    ),
}
ADDED = {
    "values": "value_a BETWEEN 0 AND 1 AND value_b BETWEEN 0 AND 1",
    "differences": "difference BETWEEN -1 AND 1 AND low BETWEEN -1 AND 1 AND high BETWEEN -1 AND 1",
}
COMMENTS = {
    ("activation_map", "reason"): (
        "Why scores are NULL or zero: background, empty_mask, blank_map",
        "Why scores are NULL (background, empty_mask) or zero (blank_map, not_finite_map)",
    ),
    ("localization", "reason"): (
        "Why iou is NULL or zero: background, empty_mask, blank_map",
        "Why iou is NULL (background, empty_mask, no_validation_lesions) or zero (blank_map, not_finite_map)",
    ),
    ("run_score", "population"): (
        "Samples counted: all, lesions, correct_lesions, ...",
        "Samples counted: all, lesions, correct_lesions",
    ),
}


def _replace(which: int) -> None:
    for (table, name), checks in CHECKS.items():
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, checks[which])
    for (table, column), comments in COMMENTS.items():
        op.alter_column(table, column, comment=comments[which], existing_comment=comments[1 - which])


def upgrade() -> None:
    _replace(1)
    for name, check in ADDED.items():
        op.create_check_constraint(op.f(f"ck_comparison_{name}"), "comparison", check)
    op.execute("COMMENT ON TABLE alembic_version IS 'Which migration this record is at'")
    op.execute("COMMENT ON COLUMN alembic_version.version_num IS 'Number of the newest migration that was run'")


def downgrade() -> None:
    op.execute("COMMENT ON COLUMN alembic_version.version_num IS NULL")
    op.execute("COMMENT ON TABLE alembic_version IS NULL")
    for name in ADDED:
        op.drop_constraint(op.f(f"ck_comparison_{name}"), "comparison")
    _replace(0)
