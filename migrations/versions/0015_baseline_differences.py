"""Paired differences from baselines; intervals of what Table IV and subgroups lacked."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | Sequence[str] | None = "0014"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parent.parent / "views"
REPLACED = {"table_4_localization": "0004", "subgroup_scores": "0006"}
GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        GRANT SELECT ON {views} TO lesionlens_reader;
    END IF;
END $$
"""
P_VALUES = {
    "p": "Two-sided p value; patients are independent, their samples are not",
    "p_holm": "p value after Holm's correction: over the pairs of selected runs for those, else over all of the study",
}
FORMER = {"p": "Two-sided p value", "p_holm": "p value after Holm's correction over the study's comparisons"}
SIGNED = "difference BETWEEN -1 AND 1 AND low BETWEEN -1 AND 1 AND high BETWEEN -1 AND 1"


def upgrade() -> None:
    op.create_table(
        "baseline_difference",
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("method", sa.Text(), nullable=False, comment="Map method, as in explanation"),
        sa.Column("target", sa.Text(), nullable=False, comment="As in explanation"),
        sa.Column("policy", sa.Text(), nullable=False, comment="As in localization"),
        sa.Column(
            "baseline", sa.Text(), nullable=False, comment="whole_patch, centred_disc, mean_mask or random_weights"
        ),
        sa.Column("population", sa.Text(), nullable=False, comment="Samples counted: lesions, correct_lesions"),
        sa.Column("group_name", sa.Text(), nullable=False, comment="all, or one label group"),
        sa.Column("difference", sa.Double(), nullable=True, comment="Mean IoU of the map minus that of the baseline"),
        sa.Column("low", sa.Double(), nullable=True, comment="Lower end of the paired bootstrap interval"),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Samples counted"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why difference is NULL, or its interval"),
        sa.CheckConstraint(SIGNED, name=op.f("ck_baseline_difference_range")),
        sa.CheckConstraint("low <= high", name=op.f("ck_baseline_difference_interval")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_baseline_difference_n")),
        sa.CheckConstraint(
            "difference IS NOT NULL OR reason IS NOT NULL", name=op.f("ck_baseline_difference_null_has_reason")
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_baseline_difference_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "evaluation_id", "method", "target", "policy", "baseline", "population", "group_name",
            name=op.f("pk_baseline_difference"),
        ),
        comment="Paired difference between a map's LL and a baseline's, over the same lesions",
    )  # fmt: skip
    _describe(P_VALUES)
    for view in ("baseline_differences", *REPLACED):
        op.execute((VIEWS / revision / f"{view}.sql").read_text())
    op.execute(GRANT.format(views="baseline_differences"))


def downgrade() -> None:
    # a view can lose columns only by being made anew
    for view, before in REPLACED.items():
        op.execute(f"DROP VIEW {view}")
        op.execute((VIEWS / before / f"{view}.sql").read_text())
    op.execute(GRANT.format(views=", ".join(REPLACED)))
    op.execute("DROP VIEW baseline_differences")
    op.drop_table("baseline_difference")
    _describe(FORMER)


def _describe(comments: dict[str, str]) -> None:
    for column, comment in comments.items():
        op.alter_column("comparison", column, comment=comment)
        quoted = comment.replace("'", "''")
        op.execute(f"COMMENT ON COLUMN model_comparisons.{column} IS '{quoted}'")
