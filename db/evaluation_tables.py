"""Tables of the evaluate and report stages: predictions, scores, explanations, comparisons, reports."""

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    UniqueConstraint,
)

from db.metadata import document, identity, metadata, moment, reference, text

TARGETS = "target IN ('predicted', 'true', 'none')"


def share(name: str, comment: str) -> tuple[Column[float], CheckConstraint]:
    """A column that is NULL or in [0, 1]; NaN is refused, it compares above all numbers."""
    return Column(name, Double, comment=comment), CheckConstraint(f"{name} BETWEEN 0 AND 1", name=name)


def whole(name: str) -> str:
    """That an array holds no NULL, which no comparison would refuse."""
    return f"array_position({name}, NULL) IS NULL"


evaluation = Table(
    "evaluation",
    metadata,
    identity("Number of the evaluation"),
    reference("run", "Run that was evaluated"),
    text("digest", "Identity of the evaluation options and seed"),
    document("config", "EvaluationConfig"),
    Column("seconds", Double, nullable=False, comment="Wall time"),
    moment("created_at", "When it was stored"),
    UniqueConstraint("run_id", "digest"),
    CheckConstraint("seconds >= 0 AND seconds < 'infinity'", name="seconds"),
    comment="All scores and maps of one run on the test split",
)

prediction = Table(
    "prediction",
    metadata,
    reference("evaluation", "Evaluation it belongs to"),
    reference("sample", "Patch of the test split", index=True),
    reference("label", "Most probable class", name="predicted_label_id", index=True),
    Column("probabilities", ARRAY(REAL), nullable=False, comment="Softmax of the logits, by label ordinal"),
    PrimaryKeyConstraint("evaluation_id", "sample_id"),
    CheckConstraint(
        f"0 <= ALL (probabilities) AND 1 >= ALL (probabilities) AND {whole('probabilities')}", name="range"
    ),
    CheckConstraint("cardinality(probabilities) > 0 AND abs(array_total(probabilities) - 1) <= 1e-4", name="total"),
    comment="What a run said about a patch",
)

class_score = Table(
    "class_score",
    metadata,
    reference("evaluation", "Evaluation it belongs to"),
    reference("label", "Class, against all others", index=True),
    *share("precision", "Correct among predicted; 0 where nothing was predicted"),
    *share("recall", "Correct among true"),
    *share("f1", "Harmonic mean of precision and recall"),
    Column("support", BigInteger, nullable=False, comment="Samples of the class in the test split"),
    *share("auc", "Area under the ROC curve from probabilities, one against rest"),
    *share("auc_hard", "(recall + specificity) / 2, only to compare with the published table"),
    text("reason", "Why a score is NULL", nullable=True),
    *(
        part
        for name in ("precision", "recall", "f1", "auc", "auc_hard")
        for end, word in (("low", "Lower"), ("high", "Upper"))
        for part in share(f"{name}_{end}", f"{word} end of the interval of {name}")
    ),
    PrimaryKeyConstraint("evaluation_id", "label_id"),
    CheckConstraint("support >= 0", name="support"),
    CheckConstraint(
        "num_nulls(precision, recall, f1, auc, auc_hard) = 0 OR reason IS NOT NULL", name="null_has_reason"
    ),
    comment="Classification scores of one class",
)

run_score = Table(
    "run_score",
    metadata,
    identity("Number of the score"),
    reference("evaluation", "Evaluation it belongs to"),
    text("name", "Which score, for example accuracy or ll"),
    text("method", "How maps were made; NULL for classification scores", nullable=True),
    text("target", "Class explained: predicted, true, none; NULL for classification scores", nullable=True),
    text("policy", "How the map was thresholded; NULL where none is", nullable=True),
    text("population", "Samples counted: all, lesions, correct_lesions"),
    text("group_name", "all, or one label group"),
    Column("value", Double, comment="The score"),
    Column("low", Double, comment="Lower end of the bootstrap interval, clustered by patient"),
    Column("high", Double, comment="Upper end of the interval"),
    Column("n", BigInteger, nullable=False, comment="Samples counted"),
    text("reason", "Why the value is NULL", nullable=True),
    UniqueConstraint(
        "evaluation_id", "name", "method", "target", "policy", "population", "group_name",
        name="uq_run_score_identity", postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint(
        "(value BETWEEN 0 AND 1 AND low BETWEEN 0 AND 1 AND high BETWEEN 0 AND 1)"
        " OR (starts_with(name, 'erase_') AND value BETWEEN -1 AND 1 AND low BETWEEN -1 AND 1"
        " AND high BETWEEN -1 AND 1)",
        name="range",
    ),
    CheckConstraint("low <= high", name="interval"),
    CheckConstraint("value IS NOT NULL OR reason IS NOT NULL", name="null_has_reason"),
    CheckConstraint("n >= 0", name="n"),
    comment="Scores of a whole evaluation, with intervals",
)  # fmt: skip

activation_map = Table(
    "activation_map",
    metadata,
    identity("Number of the explanation"),
    reference("evaluation", "Evaluation it belongs to"),
    reference("sample", "Patch explained", index=True),
    text("method", "Map method, or a baseline: whole_patch, centred_disc, mean_mask, random_weights"),
    text("target", "Class explained: predicted, true, or none for baselines without a model"),
    text("layer", "Layer the map was taken from"),
    reference("label", "Class explained; NULL where target is none", nullable=True, index=True),
    Column("rows", SmallInteger, comment="Rows of the grid"),
    Column("cols", SmallInteger, comment="Columns of the grid"),
    Column("grid", ARRAY(REAL), comment="Raw map at the layer's resolution, row by row, before ReLU and scaling"),
    Column("blank", Boolean, nullable=False, comment="Whether the map has no positive value"),
    Column("iou_curve", ARRAY(REAL), comment="IoU with the mask at thresholds 0.05, 0.10, ... 0.95"),
    Column("hit", Boolean, comment="Whether the map's maximum lies in the mask"),
    *share("energy", "Share of the map's sum inside the mask"),
    *share("rank_accuracy", "Share of the strongest |mask| pixels that lie inside the mask"),
    *share("pixel_ap", "Average precision of the map as a pixel classifier of the mask"),
    text("reason", "Why scores are NULL (background, empty_mask) or zero (blank_map, not_finite_map)", nullable=True),
    UniqueConstraint("evaluation_id", "sample_id", "method", "target"),
    CheckConstraint(TARGETS, name="target"),
    CheckConstraint("num_nulls(rows, cols) IN (0, 2) AND (grid IS NULL OR rows IS NOT NULL)", name="grid_has_shape"),
    CheckConstraint("grid IS NULL OR cardinality(grid) = rows * cols", name="grid_shape"),
    CheckConstraint(f"'-infinity' < ALL (grid) AND 'infinity' > ALL (grid) AND {whole('grid')}", name="grid_finite"),
    CheckConstraint(f"0 <= ALL (iou_curve) AND 1 >= ALL (iou_curve) AND {whole('iou_curve')}", name="iou_curve"),
    CheckConstraint(
        "num_nulls(iou_curve, hit, energy, rank_accuracy, pixel_ap) = 0 OR reason IS NOT NULL OR target = 'none'",
        name="null_has_reason",
    ),
    comment="Where a method says the evidence lies, per patch",
)

localization = Table(
    "localization",
    metadata,
    Column("evaluation_id", BigInteger, nullable=False, comment="Evaluation it belongs to"),
    Column("sample_id", BigInteger, nullable=False, comment="Patch scored"),
    text("method", "As in explanation"),
    text("target", "As in explanation"),
    text("policy", "Threshold policy: fixed, otsu, validation, area; mask for baselines that are masks"),
    Column("threshold", Double, comment="Threshold used; NULL where the policy has none"),
    *share("iou", "Intersection over union with the lesion mask; NULL with a reason"),
    text(
        "reason",
        "Why iou is NULL (background, empty_mask, no_validation_lesions) or zero (blank_map, not_finite_map)",
        nullable=True,
    ),
    PrimaryKeyConstraint("evaluation_id", "sample_id", "method", "target", "policy"),
    ForeignKeyConstraint(
        ["evaluation_id", "sample_id", "method", "target"],
        ["activation_map.evaluation_id", "activation_map.sample_id", "activation_map.method", "activation_map.target"],
        ondelete="CASCADE",
    ),
    CheckConstraint("iou IS NOT NULL OR reason IS NOT NULL", name="null_has_reason"),
    CheckConstraint("threshold > '-infinity' AND threshold < 'infinity'", name="threshold_finite"),
    comment="How well a thresholded map meets the mask, per patch and policy",
)

comparison = Table(
    "comparison",
    metadata,
    identity("Number of the comparison"),
    reference("study", "Study that compares", index=True),
    reference("evaluation", "First evaluation", name="evaluation_a", index=True),
    reference("evaluation", "Second evaluation", name="evaluation_b", index=True),
    text("score", "What is compared: accuracy or ll"),
    Column("value_a", Double, comment="Score of the first on the common samples"),
    Column("value_b", Double, comment="Score of the second on the common samples"),
    Column("difference", Double, comment="value_a - value_b"),
    Column("low", Double, comment="Lower end of the paired bootstrap interval"),
    Column("high", Double, comment="Upper end of the interval"),
    *share("p", "Two-sided p value; patients are independent, their samples are not"),
    *share(
        "p_holm",
        "p value after Holm's correction: over the pairs of selected runs for those, else over all of the study",
    ),
    Column("n", BigInteger, nullable=False, comment="Samples both were scored on"),
    UniqueConstraint("study_id", "evaluation_a", "evaluation_b", "score"),
    CheckConstraint("evaluation_a <> evaluation_b", name="two"),
    CheckConstraint("value_a BETWEEN 0 AND 1 AND value_b BETWEEN 0 AND 1", name="values"),
    CheckConstraint(
        "difference BETWEEN -1 AND 1 AND low BETWEEN -1 AND 1 AND high BETWEEN -1 AND 1", name="differences"
    ),
    CheckConstraint("low <= high", name="interval"),
    comment="Paired difference between two evaluations",
)

report = Table(
    "report",
    metadata,
    identity("Number of the report"),
    reference("study", "Study reported"),
    text("digest", "Identity of what it shows"),
    text("path", "Where it was written"),
    Column("html", LargeBinary, nullable=False, comment="The page itself, UTF-8"),
    moment("created_at", "When it was rendered"),
    UniqueConstraint("study_id", "digest"),
    comment="Rendered pages",
)

comparison_page = Table(
    "comparison_page",
    metadata,
    identity("Number of the page"),
    text("digest", "SHA-256 of the page"),
    text("path", "Where it was written"),
    Column("html", LargeBinary, nullable=False, comment="The page itself, UTF-8"),
    moment("created_at", "When it was rendered"),
    UniqueConstraint("digest"),
    comment="Rendered comparisons of studies or runs",
)

Index("ix_localization_method_policy", localization.c.evaluation_id, localization.c.method, localization.c.policy)
