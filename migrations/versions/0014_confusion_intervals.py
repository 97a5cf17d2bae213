"""Intervals of the shares of the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | Sequence[str] | None = "0013"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parent.parent / "views"
GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        GRANT SELECT ON confusion_matrix TO lesionlens_reader;
    END IF;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "confusion_interval",
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("label_id", sa.BigInteger(), nullable=False, comment="True class"),
        sa.Column("predicted_label_id", sa.BigInteger(), nullable=False, comment="Predicted class"),
        sa.Column(
            "low", sa.Double(), nullable=True, comment="Lower end of the bootstrap interval, clustered by patient"
        ),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.CheckConstraint("high BETWEEN 0 AND 1", name=op.f("ck_confusion_interval_high")),
        sa.CheckConstraint("low <= high", name=op.f("ck_confusion_interval_interval")),
        sa.CheckConstraint("low BETWEEN 0 AND 1", name=op.f("ck_confusion_interval_low")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_confusion_interval_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["label_id"], ["label.id"], name=op.f("fk_confusion_interval_label_id_label"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["predicted_label_id"],
            ["label.id"],
            name=op.f("fk_confusion_interval_predicted_label_id_label"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "label_id", "predicted_label_id", name=op.f("pk_confusion_interval")),
        comment="Intervals of the shares of the true class in the confusion matrix; its counts are the predictions'",
    )
    for column in ("label_id", "predicted_label_id"):
        op.create_index(op.f(f"ix_confusion_interval_{column}"), "confusion_interval", [column], unique=False)
    op.execute((VIEWS / revision / "confusion_matrix.sql").read_text())


def downgrade() -> None:
    # a view can lose columns only by being made anew
    op.execute("DROP VIEW confusion_matrix")
    op.execute((VIEWS / "0004" / "confusion_matrix.sql").read_text())
    op.execute(GRANT)
    op.drop_table("confusion_interval")
