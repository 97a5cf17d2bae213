"""Audits: subgroups, curves, quadrants, erase test, randomisation, shortcuts; scores over common samples."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels = None
depends_on = None


FOLDER = Path(__file__).resolve().parent.parent / "views" / revision

# in the order of their making: a view may read the ones before it
VIEWS = (
    "localization_scores",
    "seed_spread",
    "occlusion_test",
    "occlusion_samples",
    "quadrants",
    "subgroup_scores",
    "calibration",
    "reliability_curve",
    "binary_scores",
    "weight_randomisation",
    "shortcut_audit",
    "iou_curves",
    "roc_curve",
)
GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        GRANT SELECT ON {views} TO lesionlens_reader;
    END IF;
END $$
"""
RANGE = "value BETWEEN 0 AND 1 AND low BETWEEN 0 AND 1 AND high BETWEEN 0 AND 1"
SIGNED = "starts_with(name, 'erase_') AND value BETWEEN -1 AND 1 AND low BETWEEN -1 AND 1 AND high BETWEEN -1 AND 1"


def upgrade() -> None:
    # a drop of probability may be negative
    op.drop_constraint(op.f("ck_run_score_range"), "run_score")
    op.create_check_constraint(op.f("ck_run_score_range"), "run_score", f"({RANGE}) OR ({SIGNED})")
    op.create_table(
        "shortcut_score",
        sa.Column("sample_set_id", sa.BigInteger(), nullable=False, comment="Sample set that was audited"),
        sa.Column(
            "digest", sa.Text(), nullable=False, comment="Identity of the evaluation options and seed, as in study"
        ),
        sa.Column(
            "features",
            sa.Text(),
            nullable=False,
            comment="What the logistic regression sees: majority, size, intensity, sharpness, all",
        ),
        sa.Column("accuracy", sa.Double(), nullable=False, comment="Its accuracy on the test split"),
        sa.Column(
            "low", sa.Double(), nullable=True, comment="Lower end of the bootstrap interval, clustered by patient"
        ),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Samples of the test split"),
        sa.CheckConstraint("accuracy BETWEEN 0 AND 1", name=op.f("ck_shortcut_score_accuracy")),
        sa.CheckConstraint("high BETWEEN 0 AND 1", name=op.f("ck_shortcut_score_high")),
        sa.CheckConstraint("low <= high", name=op.f("ck_shortcut_score_interval")),
        sa.CheckConstraint("low BETWEEN 0 AND 1", name=op.f("ck_shortcut_score_low")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_shortcut_score_n")),
        sa.ForeignKeyConstraint(
            ["sample_set_id"],
            ["sample_set.id"],
            name=op.f("fk_shortcut_score_sample_set_id_sample_set"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sample_set_id", "digest", "features", name=op.f("pk_shortcut_score")),
        comment="Shortcut audit: how well a few numbers of every patch predict its class",
    )
    op.create_table(
        "occlusion",
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("sample_id", sa.BigInteger(), nullable=False, comment="Lesion patch of the test split"),
        sa.Column(
            "probability", sa.Double(), nullable=False, comment="Probability of the predicted class, whole patch"
        ),
        sa.Column("lesion_erased", sa.Double(), nullable=False, comment="Its probability with the lesion inpainted"),
        sa.Column(
            "control_erased",
            sa.Double(),
            nullable=True,
            comment="Its probability with the same shape inpainted beside the lesion",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why control_erased is NULL: no_room"),
        sa.CheckConstraint("control_erased BETWEEN 0 AND 1", name=op.f("ck_occlusion_control_erased")),
        sa.CheckConstraint("control_erased IS NOT NULL OR reason IS NOT NULL", name=op.f("ck_occlusion_null_has_reason")),
        sa.CheckConstraint(
            "probability BETWEEN 0 AND 1 AND lesion_erased BETWEEN 0 AND 1", name=op.f("ck_occlusion_range")
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name=op.f("fk_occlusion_evaluation_id_evaluation"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["sample_id"], ["sample.id"], name=op.f("fk_occlusion_sample_id_sample"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("evaluation_id", "sample_id", name=op.f("pk_erasure")),
        comment="Erase test: what the prediction loses without the lesion, and without as much background",
    )
    op.create_index(op.f("ix_occlusion_sample_id"), "occlusion", ["sample_id"], unique=False)
    op.create_table(
        "iou_curve",
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("method", sa.Text(), nullable=False, comment="As in explanation"),
        sa.Column("target", sa.Text(), nullable=False, comment="As in explanation"),
        sa.Column("population", sa.Text(), nullable=False, comment="Samples counted: lesions, correct_lesions"),
        sa.Column("group_name", sa.Text(), nullable=False, comment="all, or one label group"),
        sa.Column("threshold", sa.Double(), nullable=False, comment="Where maps are cut: 0.05, 0.10, ... 0.95"),
        sa.Column("iou", sa.Double(), nullable=True, comment="Mean intersection over union with the mask"),
        sa.Column(
            "low", sa.Double(), nullable=True, comment="Lower end of the bootstrap interval, clustered by patient"
        ),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Samples counted"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why iou is NULL"),
        sa.CheckConstraint("high BETWEEN 0 AND 1", name=op.f("ck_iou_curve_high")),
        sa.CheckConstraint("iou BETWEEN 0 AND 1", name=op.f("ck_iou_curve_iou")),
        sa.CheckConstraint("iou IS NOT NULL OR reason IS NOT NULL", name=op.f("ck_iou_curve_null_has_reason")),
        sa.CheckConstraint("low <= high", name=op.f("ck_iou_curve_interval")),
        sa.CheckConstraint("low BETWEEN 0 AND 1", name=op.f("ck_iou_curve_low")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_iou_curve_n")),
        sa.CheckConstraint("threshold > 0 AND threshold < 1", name=op.f("ck_iou_curve_threshold")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name=op.f("fk_iou_curve_evaluation_id_evaluation"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "evaluation_id", "method", "target", "population", "group_name", "threshold", name=op.f("pk_iou_curve")
        ),
        comment="Localisation score against the threshold, with intervals",
    )
    op.create_table(
        "quadrant",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the quadrant"),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("label_id", sa.BigInteger(), nullable=True, comment="Class; NULL for all lesions together"),
        sa.Column("correct", sa.Boolean(), nullable=False, comment="Whether the class was predicted"),
        sa.Column(
            "located", sa.Boolean(), nullable=False, comment="Whether the headline map's maximum lies in the mask"
        ),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Lesions in the quadrant"),
        sa.Column("lesions", sa.BigInteger(), nullable=False, comment="Scored lesions of the class"),
        sa.Column("share", sa.Double(), nullable=False, comment="n / lesions"),
        sa.Column(
            "low", sa.Double(), nullable=True, comment="Lower end of the bootstrap interval, clustered by patient"
        ),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.CheckConstraint("high BETWEEN 0 AND 1", name=op.f("ck_quadrant_high")),
        sa.CheckConstraint("lesions >= 0", name=op.f("ck_quadrant_lesions")),
        sa.CheckConstraint("low <= high", name=op.f("ck_quadrant_interval")),
        sa.CheckConstraint("low BETWEEN 0 AND 1", name=op.f("ck_quadrant_low")),
        sa.CheckConstraint("n <= lesions", name=op.f("ck_quadrant_part")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_quadrant_n")),
        sa.CheckConstraint("share BETWEEN 0 AND 1", name=op.f("ck_quadrant_share")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name=op.f("fk_quadrant_evaluation_id_evaluation"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["label_id"], ["label.id"], name=op.f("fk_quadrant_label_id_label"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quadrant")),
        sa.UniqueConstraint(
            "evaluation_id",
            "label_id",
            "correct",
            "located",
            name="uq_quadrant_identity",
            postgresql_nulls_not_distinct=True,
        ),
        comment="Correct or not, located or not: lesions of one class, with intervals",
    )
    op.create_index(op.f("ix_quadrant_label_id"), "quadrant", ["label_id"], unique=False)
    op.create_table(
        "randomisation",
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column(
            "step", sa.SmallInteger(), nullable=False, comment="0 intact; -1 level of chance; then one more layer each"
        ),
        sa.Column(
            "layer",
            sa.Text(),
            nullable=False,
            comment="Layer made random last; other samples: map of one sample against that of the next",
        ),
        sa.Column(
            "ssim",
            sa.Double(),
            nullable=True,
            comment="Mean structural similarity of activation maps to the intact model's",
        ),
        sa.Column("ssim_low", sa.Double(), nullable=True, comment="Lower end of its interval"),
        sa.Column("ssim_high", sa.Double(), nullable=True, comment="Upper end of its interval"),
        sa.Column(
            "rank_correlation",
            sa.Double(),
            nullable=True,
            comment="Mean Spearman correlation of grids with the intact model's",
        ),
        sa.Column("rank_low", sa.Double(), nullable=True, comment="Lower end of its interval"),
        sa.Column("rank_high", sa.Double(), nullable=True, comment="Upper end of its interval"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Samples whose maps are both not blank"),
        sa.CheckConstraint(
            "(n = 0) = (ssim IS NULL) AND (n = 0) = (rank_correlation IS NULL)",
            name=op.f("ck_randomisation_null_where_none"),
        ),
        sa.CheckConstraint("n >= 0", name=op.f("ck_randomisation_n")),
        sa.CheckConstraint("rank_correlation BETWEEN -1 AND 1", name=op.f("ck_randomisation_rank_correlation")),
        sa.CheckConstraint("rank_high BETWEEN -1 AND 1", name=op.f("ck_randomisation_rank_high")),
        sa.CheckConstraint("rank_low BETWEEN -1 AND 1", name=op.f("ck_randomisation_rank_low")),
        sa.CheckConstraint("ssim BETWEEN -1 AND 1", name=op.f("ck_randomisation_ssim")),
        sa.CheckConstraint("ssim_high BETWEEN -1 AND 1", name=op.f("ck_randomisation_ssim_high")),
        sa.CheckConstraint("ssim_low BETWEEN -1 AND 1", name=op.f("ck_randomisation_ssim_low")),
        sa.CheckConstraint("step >= -1", name=op.f("ck_randomisation_step")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_randomisation_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "step", name=op.f("pk_randomisation")),
        comment="Do maps change when weights become random, layer by layer from the output?",
    )
    op.create_table(
        "reliability",
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("bin", sa.SmallInteger(), nullable=False, comment="Bin of the predicted class's probability, from 0"),
        sa.Column("lower", sa.Double(), nullable=False, comment="Lower edge of the bin"),
        sa.Column("upper", sa.Double(), nullable=False, comment="Upper edge of the bin"),
        sa.Column(
            "confidence",
            sa.Double(),
            nullable=True,
            comment="Mean probability of the predicted class in the bin; NULL where it is empty",
        ),
        sa.Column(
            "accuracy",
            sa.Double(),
            nullable=True,
            comment="Share of correct predictions in the bin; NULL where it is empty",
        ),
        sa.Column(
            "low", sa.Double(), nullable=True, comment="Lower end of the bootstrap interval, clustered by patient"
        ),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Samples in the bin"),
        sa.CheckConstraint(
            "(n = 0) = (confidence IS NULL) AND (n = 0) = (accuracy IS NULL)", name=op.f("ck_reliability_empty")
        ),
        sa.CheckConstraint("accuracy BETWEEN 0 AND 1", name=op.f("ck_reliability_accuracy")),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f("ck_reliability_confidence")),
        sa.CheckConstraint("high BETWEEN 0 AND 1", name=op.f("ck_reliability_high")),
        sa.CheckConstraint("low <= high", name=op.f("ck_reliability_interval")),
        sa.CheckConstraint("low BETWEEN 0 AND 1", name=op.f("ck_reliability_low")),
        sa.CheckConstraint("lower < upper", name=op.f("ck_reliability_edges")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_reliability_n")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_reliability_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "bin", name=op.f("pk_reliability")),
        comment="Reliability curve: what the predicted class's probability means",
    )
    op.create_table(
        "subgroup_score",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the score"),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column(
            "subgroup",
            sa.Text(),
            nullable=False,
            comment="Attribute: lesion_type, pathology, mask_fraction, subtlety, breast_density, view",
        ),
        sa.Column(
            "level", sa.Text(), nullable=False, comment="Value of the attribute; unknown where the data set gives none"
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Which score: accuracy or ll"),
        sa.Column("method", sa.Text(), nullable=True, comment="Headline map method, or baseline; NULL for accuracy"),
        sa.Column("population", sa.Text(), nullable=False, comment="Samples counted: all, lesions, correct_lesions"),
        sa.Column("value", sa.Double(), nullable=True, comment="The score"),
        sa.Column(
            "low", sa.Double(), nullable=True, comment="Lower end of the bootstrap interval, clustered by patient"
        ),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Samples counted"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why the value is NULL"),
        sa.CheckConstraint("high BETWEEN 0 AND 1", name=op.f("ck_subgroup_score_high")),
        sa.CheckConstraint("low <= high", name=op.f("ck_subgroup_score_interval")),
        sa.CheckConstraint("low BETWEEN 0 AND 1", name=op.f("ck_subgroup_score_low")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_subgroup_score_n")),
        sa.CheckConstraint("value BETWEEN 0 AND 1", name=op.f("ck_subgroup_score_value")),
        sa.CheckConstraint("value IS NOT NULL OR reason IS NOT NULL", name=op.f("ck_subgroup_score_null_has_reason")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_subgroup_score_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subgroup_score")),
        sa.UniqueConstraint(
            "evaluation_id",
            "subgroup",
            "level",
            "name",
            "method",
            "population",
            name="uq_subgroup_score_identity",
            postgresql_nulls_not_distinct=True,
        ),
        comment="Scores of the samples that share one value of an attribute, with intervals",
    )
    op.create_table(
        "study_score",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the score"),
        sa.Column("study_id", sa.BigInteger(), nullable=False, comment="Study whose evaluations were taken together"),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation scored"),
        sa.Column("name", sa.Text(), nullable=False, comment="Which score: ll or acc_x_ll"),
        sa.Column("method", sa.Text(), nullable=False, comment="As in explanation"),
        sa.Column("target", sa.Text(), nullable=False, comment="As in explanation"),
        sa.Column("policy", sa.Text(), nullable=False, comment="As in localization"),
        sa.Column(
            "population",
            sa.Text(),
            nullable=False,
            comment="Samples counted: common_lesions, those that all models of the study classify correctly",
        ),
        sa.Column("group_name", sa.Text(), nullable=False, comment="all, or one label group"),
        sa.Column("value", sa.Double(), nullable=True, comment="The score"),
        sa.Column(
            "low", sa.Double(), nullable=True, comment="Lower end of the bootstrap interval, clustered by patient"
        ),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Samples counted"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why the value is NULL"),
        sa.CheckConstraint("high BETWEEN 0 AND 1", name=op.f("ck_study_score_high")),
        sa.CheckConstraint("low <= high", name=op.f("ck_study_score_interval")),
        sa.CheckConstraint("low BETWEEN 0 AND 1", name=op.f("ck_study_score_low")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_study_score_n")),
        sa.CheckConstraint("value BETWEEN 0 AND 1", name=op.f("ck_study_score_value")),
        sa.CheckConstraint("value IS NOT NULL OR reason IS NOT NULL", name=op.f("ck_study_score_null_has_reason")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_study_score_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_study_score_study_id_study"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_score")),
        sa.UniqueConstraint(
            "study_id",
            "evaluation_id",
            "name",
            "method",
            "target",
            "policy",
            "population",
            "group_name",
            name="uq_study_score_identity",
        ),
        comment="Scores of an evaluation over samples that all evaluations of a study decide, with intervals",
    )
    op.create_index(op.f("ix_study_score_evaluation_id"), "study_score", ["evaluation_id"], unique=False)

    for view in VIEWS:
        op.execute((FOLDER / f"{view}.sql").read_text())
    op.execute(GRANT.format(views=", ".join(VIEWS)))


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    op.drop_index(op.f("ix_study_score_evaluation_id"), table_name="study_score")
    op.drop_table("study_score")
    op.drop_table("subgroup_score")
    op.drop_table("reliability")
    op.drop_table("randomisation")
    op.drop_index(op.f("ix_quadrant_label_id"), table_name="quadrant")
    op.drop_table("quadrant")
    op.drop_table("iou_curve")
    op.drop_index(op.f("ix_occlusion_sample_id"), table_name="occlusion")
    op.drop_table("occlusion")
    op.drop_table("shortcut_score")
    op.execute("DELETE FROM run_score WHERE starts_with(name, 'erase_')")
    op.drop_constraint(op.f("ck_run_score_range"), "run_score")
    op.create_check_constraint(op.f("ck_run_score_range"), "run_score", RANGE)
