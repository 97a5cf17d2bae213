"""Tables of the evaluate step, one row per score: of a class, a run, a subgroup, a curve, an audit, a comparison."""

from sqlalchemy import CheckConstraint, Column, Double, SmallInteger, UniqueConstraint

from db.tables.columns import (
    count,
    explained,
    flags,
    identity,
    interval,
    proportion,
    real,
    reference,
    scored,
    table,
    text,
    texts,
)

CLASS_SCORES = ("precision", "recall", "f1", "auc", "auc_hard")

class_score = table(
    "class_score",
    "Classification scores of one class",
    reference("evaluation", primary_key=True),
    reference("label", primary_key=True, index=True),
    *(item for name in CLASS_SCORES for end in ("", "_low", "_high") for item in proportion(name + end)),
    *count("support"),
    text("reason", nullable=True),
    CheckConstraint(f"num_nulls({', '.join(CLASS_SCORES)}) = 0 OR reason IS NOT NULL", name="null_has_reason"),
)

confusion_interval = table(
    "confusion_interval",
    "Intervals of the proportions of the true class in the confusion matrix; predictions give its counts",
    reference("evaluation", primary_key=True),
    reference("label", primary_key=True, index=True),
    reference("label", name="predicted_label_id", primary_key=True, index=True),
    *interval(),
)

run_score = table(
    "run_score",
    "Scores of a whole evaluation, with intervals",
    identity(),
    reference("evaluation"),
    text("name"),
    *texts("method", "target", "policy", nullable=True),
    *texts("population", "group_name"),
    *(real(name, nullable=True) for name in ("value", "low", "high")),
    *(
        CheckConstraint(f"{name} BETWEEN -1 AND 1 OR name = 'lift' AND {name} < 'infinity'", name=name)
        for name in ("value", "low", "high")
    ),
    CheckConstraint("low <= high", name="interval"),
    *count("n"),
    text("reason", nullable=True),
    explained("value"),
    UniqueConstraint(
        "evaluation_id", "name", "method", "target", "policy", "population", "group_name",
        name="uq_run_score_identity", postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("name ~ '^occlusion_|_gain$|tion_auc$' OR (value >= 0 AND low >= 0)", name="sign"),
)  # fmt: skip

activation_precision = table(
    "activation_precision",
    "Mean proportion of a map's highest 5 % of pixels inside the annotation, beside the mask's share of the patch",
    identity(),
    reference("evaluation"),
    text("method"),
    reference("label", nullable=True, index=True),
    *proportion("share"),
    *proportion("difference", lowest=-1),
    *proportion("difference_low", lowest=-1),
    *proportion("difference_high", lowest=-1),
    *scored("value"),
    UniqueConstraint(
        "evaluation_id", "method", "label_id",
        name="uq_activation_precision_identity", postgresql_nulls_not_distinct=True,
    ),
)  # fmt: skip

baseline_difference = table(
    "baseline_difference",
    "Paired difference between a map's LL and a baseline's, over the same lesions",
    reference("evaluation", primary_key=True),
    *texts("method", "target", "policy", "baseline", "population", "group_name", primary_key=True),
    *scored("difference", lowest=-1),
)

subgroup_score = table(
    "subgroup_score",
    "Scores of the samples with one value of an attribute, with intervals",
    identity(),
    reference("evaluation"),
    *texts("subgroup", "level", "name"),
    text("method", nullable=True),
    text("population"),
    *scored("value"),
    UniqueConstraint(
        "evaluation_id", "subgroup", "level", "name", "method", "population",
        name="uq_subgroup_score_identity", postgresql_nulls_not_distinct=True,
    ),
)  # fmt: skip

iou_curve = table(
    "iou_curve",
    "Localization score against the threshold, with intervals",
    reference("evaluation", primary_key=True),
    *texts("method", "target", "population", "group_name", primary_key=True),
    Column("threshold", Double, primary_key=True),
    *scored("iou"),
    CheckConstraint("threshold > 0 AND threshold < 1", name="threshold"),
)

quadrant = table(
    "quadrant",
    "Correct or not, located or not: lesions of one class, with intervals",
    identity(),
    reference("evaluation"),
    reference("label", nullable=True, index=True),
    *flags("correct", "located"),
    *count("n"),
    *count("lesions"),
    *proportion("proportion", nullable=False),
    *interval(),
    UniqueConstraint(
        "evaluation_id", "label_id", "correct", "located",
        name="uq_quadrant_identity", postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("n <= lesions", name="subset"),
)  # fmt: skip

reliability = table(
    "reliability",
    "Reliability curve: accuracy against the predicted class's probability",
    reference("evaluation", primary_key=True),
    Column("bin", SmallInteger, primary_key=True),
    real("lower"),
    real("upper"),
    *proportion("confidence"),
    *proportion("accuracy"),
    *interval(),
    *count("n"),
    CheckConstraint("lower < upper", name="edges"),
    CheckConstraint("(n = 0) = (confidence IS NULL) AND (n = 0) = (accuracy IS NULL)", name="empty"),
)

randomisation = table(
    "randomisation",
    "Similarity of maps to the intact model's while weights become random, block by block from the output",
    reference("evaluation", primary_key=True),
    Column("step", SmallInteger, primary_key=True),
    text("layer"),
    *(item for end in ("", "_low", "_high") for item in proportion(f"ssim{end}", lowest=-1)),
    *(item for end in ("correlation", "low", "high") for item in proportion(f"rank_{end}", lowest=-1)),
    *count("n"),
    CheckConstraint("step >= -1", name="step"),
    CheckConstraint("(n = 0) = (ssim IS NULL) AND (n = 0) = (rank_correlation IS NULL)", name="null_where_none"),
)

shortcut_score = table(
    "shortcut_score",
    "Shortcut audit: how well a few numbers of every sample predict its class",
    reference("sample_set", primary_key=True),
    *texts("digest", "features", "question", primary_key=True),
    *proportion("accuracy"),
    *proportion("auc"),
    *interval(),
    *count("n"),
    CheckConstraint("question IN ('class', 'detection', 'diagnosis')", name="question"),
    CheckConstraint("(question = 'class') = (accuracy IS NOT NULL) AND num_nulls(accuracy, auc) = 1", name="score"),
)

validation_score = table(
    "validation_score",
    "Scores of a run on the validation split, by which runs are chosen",
    reference("evaluation", primary_key=True),
    *(real(name) for name in ("loss", "scaled_loss", "temperature")),
    *proportion("accuracy", nullable=False),
    *count("n"),
    CheckConstraint("scaled_loss >= 0 AND scaled_loss <= loss AND loss < 'infinity'", name="losses"),
    CheckConstraint("temperature > 0 AND temperature < 'infinity'", name="temperature"),
)

detection_score = table(
    "detection_score",
    "Marks of films judged: FROC curves, difference from the bright blob's, average precision, class of found lesions",
    identity(),
    reference("evaluation"),
    *texts("method", "measure", "criterion", "group_name"),
    real("at", nullable=True),
    *scored("value", lowest=-1),
    UniqueConstraint(
        "evaluation_id", "method", "measure", "criterion", "group_name", "at",
        name="uq_detection_score_identity", postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("criterion IN ('centre', 'iou_0.2', 'iou_0.5')", name="criterion"),
    CheckConstraint("at >= 0 AND at < 'infinity'", name="at"),
    CheckConstraint("measure = 'difference' OR (value >= 0 AND low >= 0)", name="sign"),
)  # fmt: skip

operating_point = table(
    "operating_point",
    "AUC, and sensitivity and specificity at thresholds from validation, by lesion, breast and patient",
    identity(),
    reference("evaluation"),
    *texts("question", "level", "measure"),
    *proportion("at"),
    *proportion("threshold"),
    *scored("value"),
    UniqueConstraint(
        "evaluation_id", "question", "level", "measure", "at",
        name="uq_operating_point_identity", postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("question IN ('detection', 'diagnosis')", name="question"),
    CheckConstraint("level IN ('lesion', 'breast', 'patient')", name="level"),
)  # fmt: skip


study_score = table(
    "study_score",
    "Scores of an evaluation over the samples that all models of a study classify correctly, with intervals",
    identity(),
    reference("study"),
    reference("evaluation", index=True),
    *texts("name", "method", "target", "policy", "population", "group_name"),
    *scored("value"),
    UniqueConstraint(
        "study_id", "evaluation_id", "name", "method", "target", "policy", "population", "group_name",
        name="uq_study_score_identity",
    ),
)  # fmt: skip

decision = table(
    "decision",
    "What the answer rests on: measures of a study's cells (one model with all its seeds), by question and group",
    identity(),
    reference("study"),
    *texts("backbone", "strategy"),
    Column("batch_size", SmallInteger, nullable=True),
    real("head_rate", nullable=True),
    real("unit1_rate", nullable=True),
    text("guidance"),
    *count("seeds"),
    text("question"),
    text("group_name", nullable=True),
    *texts("variant", "measure"),
    *proportion("value", lowest=-1),
    *interval(lowest=-1),
    *count("lesions"),
    *count("patients"),
    text("reason", nullable=True),
    UniqueConstraint(
        "study_id", "backbone", "strategy", "batch_size", "head_rate", "unit1_rate", "guidance", "question",
        "group_name", "variant", "measure", name="uq_decision_identity", postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("value IS NOT NULL OR reason IS NOT NULL", name="null_has_reason"),
)  # fmt: skip

comparison = table(
    "comparison",
    "Paired difference between two evaluations",
    identity(),
    reference("study", index=True),
    reference("evaluation", name="evaluation_a", index=True),
    reference("evaluation", name="evaluation_b", index=True),
    text("score"),
    *proportion("value_a"),
    *proportion("value_b"),
    *proportion("difference", lowest=-1),
    *interval(lowest=-1),
    *proportion("p"),
    *proportion("p_holm"),
    *count("n"),
    UniqueConstraint("study_id", "evaluation_a", "evaluation_b", "score"),
    CheckConstraint("evaluation_a <> evaluation_b", name="two"),
)
