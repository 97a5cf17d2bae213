"""Evaluations, scores, explanations and reports."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels = None
depends_on = None


# a check may not hold a subquery, but may call a function
ARRAY_TOTAL = """
CREATE FUNCTION array_total(real[]) RETURNS double precision LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (SELECT sum(x::double precision) FROM unnest($1) AS x)
"""


def upgrade() -> None:
    op.execute(ARRAY_TOTAL)
    op.execute("COMMENT ON FUNCTION array_total(real[]) IS 'Sum of the elements'")
    op.create_table(
        "evaluation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the evaluation"),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="Run that was evaluated"),
        sa.Column("digest", sa.Text(), nullable=False, comment="Identity of the evaluation options and seed"),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="EvaluationConfig"),
        sa.Column("seconds", sa.Double(), nullable=False, comment="Wall time"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was stored",
        ),
        sa.CheckConstraint("seconds >= 0 AND seconds < 'infinity'", name=op.f("ck_evaluation_seconds")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_evaluation_run_id_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
        sa.UniqueConstraint("run_id", "digest", name=op.f("uq_evaluation_run_id_digest")),
        comment="All scores and maps of one run on the test split",
    )
    op.create_table(
        "report",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the report"),
        sa.Column("study_id", sa.BigInteger(), nullable=False, comment="Study reported"),
        sa.Column("digest", sa.Text(), nullable=False, comment="Identity of what it shows"),
        sa.Column("path", sa.Text(), nullable=False, comment="Where it was written"),
        sa.Column("html", sa.LargeBinary(), nullable=False, comment="The page itself, UTF-8"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was rendered",
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_report_study_id_study"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
        sa.UniqueConstraint("study_id", "digest", name=op.f("uq_report_study_id_digest")),
        comment="Rendered pages",
    )
    op.create_table(
        "class_score",
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("label_id", sa.BigInteger(), nullable=False, comment="Class, against all others"),
        sa.Column(
            "precision", sa.Double(), nullable=True, comment="Correct among predicted; 0 where nothing was predicted"
        ),
        sa.Column("recall", sa.Double(), nullable=True, comment="Correct among true"),
        sa.Column("f1", sa.Double(), nullable=True, comment="Harmonic mean of precision and recall"),
        sa.Column("support", sa.BigInteger(), nullable=False, comment="Samples of the class in the test split"),
        sa.Column(
            "auc", sa.Double(), nullable=True, comment="Area under the ROC curve from probabilities, one against rest"
        ),
        sa.Column(
            "auc_hard",
            sa.Double(),
            nullable=True,
            comment="(recall + specificity) / 2, only to compare with the published table",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why a score is NULL"),
        sa.CheckConstraint("auc BETWEEN 0 AND 1", name=op.f("ck_class_score_auc")),
        sa.CheckConstraint("auc_hard BETWEEN 0 AND 1", name=op.f("ck_class_score_auc_hard")),
        sa.CheckConstraint("f1 BETWEEN 0 AND 1", name=op.f("ck_class_score_f1")),
        sa.CheckConstraint(
            "num_nulls(precision, recall, f1, auc, auc_hard) = 0 OR reason IS NOT NULL",
            name=op.f("ck_class_score_null_has_reason"),
        ),
        sa.CheckConstraint("precision BETWEEN 0 AND 1", name=op.f("ck_class_score_precision")),
        sa.CheckConstraint("recall BETWEEN 0 AND 1", name=op.f("ck_class_score_recall")),
        sa.CheckConstraint("support >= 0", name=op.f("ck_class_score_support")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_class_score_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["label_id"], ["label.id"], name=op.f("fk_class_score_label_id_label"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "label_id", name=op.f("pk_class_score")),
        comment="Classification scores of one class",
    )
    op.create_index(op.f("ix_class_score_label_id"), "class_score", ["label_id"], unique=False)
    op.create_table(
        "comparison",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the comparison"),
        sa.Column("study_id", sa.BigInteger(), nullable=False, comment="Study that compares"),
        sa.Column("evaluation_a", sa.BigInteger(), nullable=False, comment="First evaluation"),
        sa.Column("evaluation_b", sa.BigInteger(), nullable=False, comment="Second evaluation"),
        sa.Column("score", sa.Text(), nullable=False, comment="What is compared: accuracy or ll"),
        sa.Column("value_a", sa.Double(), nullable=True, comment="Score of the first on the common samples"),
        sa.Column("value_b", sa.Double(), nullable=True, comment="Score of the second on the common samples"),
        sa.Column("difference", sa.Double(), nullable=True, comment="value_a - value_b"),
        sa.Column("low", sa.Double(), nullable=True, comment="Lower end of the paired bootstrap interval"),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.Column("p", sa.Double(), nullable=True, comment="Two-sided p value"),
        sa.Column(
            "p_holm", sa.Double(), nullable=True, comment="p value after Holm's correction over the study's comparisons"
        ),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Samples both were scored on"),
        sa.CheckConstraint("evaluation_a <> evaluation_b", name=op.f("ck_comparison_two")),
        sa.CheckConstraint("low <= high", name=op.f("ck_comparison_interval")),
        sa.CheckConstraint("p BETWEEN 0 AND 1", name=op.f("ck_comparison_p")),
        sa.CheckConstraint("p_holm BETWEEN 0 AND 1", name=op.f("ck_comparison_p_holm")),
        sa.ForeignKeyConstraint(
            ["evaluation_a"], ["evaluation.id"], name=op.f("fk_comparison_evaluation_a_evaluation"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_b"], ["evaluation.id"], name=op.f("fk_comparison_evaluation_b_evaluation"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_comparison_study_id_study"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparison")),
        sa.UniqueConstraint(
            "study_id",
            "evaluation_a",
            "evaluation_b",
            "score",
            name=op.f("uq_comparison_study_id_evaluation_a_evaluation_b_score"),
        ),
        comment="Paired difference between two evaluations",
    )
    op.create_index(op.f("ix_comparison_evaluation_a"), "comparison", ["evaluation_a"], unique=False)
    op.create_index(op.f("ix_comparison_evaluation_b"), "comparison", ["evaluation_b"], unique=False)
    op.create_index(op.f("ix_comparison_study_id"), "comparison", ["study_id"], unique=False)
    op.create_table(
        "activation_map",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the explanation"
        ),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("sample_id", sa.BigInteger(), nullable=False, comment="Patch explained"),
        sa.Column(
            "method",
            sa.Text(),
            nullable=False,
            comment="Map method, or a baseline: whole_patch, centred_disc, mean_mask, random_weights",
        ),
        sa.Column(
            "target",
            sa.Text(),
            nullable=False,
            comment="Class explained: predicted, true, or none for baselines without a model",
        ),
        sa.Column("layer", sa.Text(), nullable=False, comment="Layer the map was taken from"),
        sa.Column("label_id", sa.BigInteger(), nullable=True, comment="Class explained; NULL where target is none"),
        sa.Column("rows", sa.SmallInteger(), nullable=True, comment="Rows of the grid"),
        sa.Column("cols", sa.SmallInteger(), nullable=True, comment="Columns of the grid"),
        sa.Column(
            "grid",
            sa.ARRAY(sa.REAL()),
            nullable=True,
            comment="Raw map at the layer's resolution, row by row, before ReLU and scaling",
        ),
        sa.Column("blank", sa.Boolean(), nullable=False, comment="Whether the map has no positive value"),
        sa.Column(
            "iou_curve",
            sa.ARRAY(sa.REAL()),
            nullable=True,
            comment="IoU with the mask at thresholds 0.05, 0.10, ... 0.95",
        ),
        sa.Column("hit", sa.Boolean(), nullable=True, comment="Whether the map's maximum lies in the mask"),
        sa.Column("energy", sa.Double(), nullable=True, comment="Share of the map's sum inside the mask"),
        sa.Column(
            "rank_accuracy",
            sa.Double(),
            nullable=True,
            comment="Share of the strongest |mask| pixels that lie inside the mask",
        ),
        sa.Column(
            "pixel_ap",
            sa.Double(),
            nullable=True,
            comment="Average precision of the map as a pixel classifier of the mask",
        ),
        sa.Column(
            "reason", sa.Text(), nullable=True, comment="Why scores are NULL or zero: background, empty_mask, blank_map"
        ),
        sa.CheckConstraint(
            "'-infinity' < ALL (grid) AND 'infinity' > ALL (grid)", name=op.f("ck_activation_map_grid_finite")
        ),
        sa.CheckConstraint(
            "num_nulls(hit, energy, rank_accuracy, pixel_ap) = 0 OR reason IS NOT NULL OR target = 'none'",
            name=op.f("ck_activation_map_null_has_reason"),
        ),
        sa.CheckConstraint("target IN ('predicted', 'true', 'none')", name=op.f("ck_activation_map_target")),
        sa.CheckConstraint(
            "num_nulls(rows, cols) IN (0, 2) AND (grid IS NULL OR rows IS NOT NULL)",
            name=op.f("ck_activation_map_grid_has_shape"),
        ),
        sa.CheckConstraint("0 <= ALL (iou_curve) AND 1 >= ALL (iou_curve)", name=op.f("ck_activation_map_iou_curve")),
        sa.CheckConstraint("energy BETWEEN 0 AND 1", name=op.f("ck_activation_map_energy")),
        sa.CheckConstraint("grid IS NULL OR cardinality(grid) = rows * cols", name=op.f("ck_activation_map_grid_shape")),
        sa.CheckConstraint("pixel_ap BETWEEN 0 AND 1", name=op.f("ck_activation_map_pixel_ap")),
        sa.CheckConstraint("rank_accuracy BETWEEN 0 AND 1", name=op.f("ck_activation_map_rank_accuracy")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_activation_map_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["label_id"], ["label.id"], name=op.f("fk_activation_map_label_id_label"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"], ["sample.id"], name=op.f("fk_activation_map_sample_id_sample"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activation_map")),
        sa.UniqueConstraint(
            "evaluation_id",
            "sample_id",
            "method",
            "target",
            name=op.f("uq_activation_map_evaluation_id_patch_id_method_target"),
        ),
        comment="Where a method says the evidence lies, per patch",
    )
    op.create_index(op.f("ix_activation_map_label_id"), "activation_map", ["label_id"], unique=False)
    op.create_index(op.f("ix_activation_map_sample_id"), "activation_map", ["sample_id"], unique=False)
    op.create_table(
        "prediction",
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("sample_id", sa.BigInteger(), nullable=False, comment="Patch of the test split"),
        sa.Column("predicted_label_id", sa.BigInteger(), nullable=False, comment="Most probable class"),
        sa.Column(
            "probabilities", sa.ARRAY(sa.REAL()), nullable=False, comment="Softmax of the logits, by label ordinal"
        ),
        sa.CheckConstraint("0 <= ALL (probabilities) AND 1 >= ALL (probabilities)", name=op.f("ck_prediction_range")),
        sa.CheckConstraint("abs(array_total(probabilities) - 1) <= 1e-4", name=op.f("ck_prediction_total")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_prediction_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"], ["sample.id"], name=op.f("fk_prediction_sample_id_sample"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["predicted_label_id"],
            ["label.id"],
            name=op.f("fk_prediction_predicted_label_id_label"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "sample_id", name=op.f("pk_prediction")),
        comment="What a run said about a patch",
    )
    op.create_index(op.f("ix_prediction_sample_id"), "prediction", ["sample_id"], unique=False)
    op.create_index(op.f("ix_prediction_predicted_label_id"), "prediction", ["predicted_label_id"], unique=False)
    op.create_table(
        "run_score",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the score"),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("name", sa.Text(), nullable=False, comment="Which score, for example accuracy or ll"),
        sa.Column("method", sa.Text(), nullable=True, comment="How maps were made; NULL for classification scores"),
        sa.Column(
            "target",
            sa.Text(),
            nullable=True,
            comment="Class explained: predicted, true, none; NULL for classification scores",
        ),
        sa.Column("policy", sa.Text(), nullable=True, comment="How the map was thresholded; NULL where none is"),
        sa.Column(
            "population", sa.Text(), nullable=False, comment="Samples counted: all, lesions, correct_lesions, ..."
        ),
        sa.Column("group_name", sa.Text(), nullable=False, comment="all, or one label group"),
        sa.Column("value", sa.Double(), nullable=True, comment="The score"),
        sa.Column(
            "low", sa.Double(), nullable=True, comment="Lower end of the bootstrap interval, clustered by patient"
        ),
        sa.Column("high", sa.Double(), nullable=True, comment="Upper end of the interval"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="Samples counted"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why the value is NULL"),
        sa.CheckConstraint("low <= high", name=op.f("ck_run_score_interval")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_run_score_n")),
        sa.CheckConstraint(
            "value BETWEEN 0 AND 1 AND low BETWEEN 0 AND 1 AND high BETWEEN 0 AND 1", name=op.f("ck_run_score_range")
        ),
        sa.CheckConstraint("value IS NOT NULL OR reason IS NOT NULL", name=op.f("ck_run_score_null_has_reason")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name=op.f("fk_run_score_evaluation_id_evaluation"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_score")),
        sa.UniqueConstraint(
            "evaluation_id",
            "name",
            "method",
            "target",
            "policy",
            "population",
            "group_name",
            name="uq_run_score_identity",
            postgresql_nulls_not_distinct=True,
        ),
        comment="Scores of a whole evaluation, with intervals",
    )
    op.create_table(
        "localization",
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False, comment="Evaluation it belongs to"),
        sa.Column("sample_id", sa.BigInteger(), nullable=False, comment="Patch scored"),
        sa.Column("method", sa.Text(), nullable=False, comment="As in explanation"),
        sa.Column("target", sa.Text(), nullable=False, comment="As in explanation"),
        sa.Column(
            "policy",
            sa.Text(),
            nullable=False,
            comment="Threshold policy: fixed, otsu, validation, area; mask for baselines that are masks",
        ),
        sa.Column("threshold", sa.Double(), nullable=True, comment="Threshold used; NULL where the policy has none"),
        sa.Column(
            "iou",
            sa.Double(),
            nullable=True,
            comment="Intersection over union with the lesion mask; NULL with a reason",
        ),
        sa.Column(
            "reason", sa.Text(), nullable=True, comment="Why iou is NULL or zero: background, empty_mask, blank_map"
        ),
        sa.CheckConstraint(
            "threshold > '-infinity' AND threshold < 'infinity'", name=op.f("ck_localization_threshold_finite")
        ),
        sa.CheckConstraint("iou BETWEEN 0 AND 1", name=op.f("ck_localization_iou")),
        sa.CheckConstraint("iou IS NOT NULL OR reason IS NOT NULL", name=op.f("ck_localization_null_has_reason")),
        sa.ForeignKeyConstraint(
            ["evaluation_id", "sample_id", "method", "target"],
            ["activation_map.evaluation_id", "activation_map.sample_id", "activation_map.method", "activation_map.target"],
            name=op.f("fk_localization_evaluation_id_explanation"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "evaluation_id", "sample_id", "method", "target", "policy", name=op.f("pk_localization")
        ),
        comment="How well a thresholded map meets the mask, per patch and policy",
    )
    op.create_index(
        "ix_localization_method_policy", "localization", ["evaluation_id", "method", "policy"], unique=False
    )


def downgrade() -> None:
    op.drop_index("ix_localization_method_policy", table_name="localization")
    op.drop_table("localization")
    op.drop_table("run_score")
    op.drop_index(op.f("ix_prediction_predicted_label_id"), table_name="prediction")
    op.drop_index(op.f("ix_prediction_sample_id"), table_name="prediction")
    op.drop_table("prediction")
    op.drop_index(op.f("ix_activation_map_sample_id"), table_name="activation_map")
    op.drop_index(op.f("ix_activation_map_label_id"), table_name="activation_map")
    op.drop_table("activation_map")
    op.drop_index(op.f("ix_comparison_study_id"), table_name="comparison")
    op.drop_index(op.f("ix_comparison_evaluation_b"), table_name="comparison")
    op.drop_index(op.f("ix_comparison_evaluation_a"), table_name="comparison")
    op.drop_table("comparison")
    op.drop_index(op.f("ix_class_score_label_id"), table_name="class_score")
    op.drop_table("class_score")
    op.drop_table("report")
    op.drop_table("evaluation")
    op.execute("DROP FUNCTION array_total(real[])")
