"""Tables of the evaluate stage beyond scores: confusions, differences, curves, subgroups, quadrants, and the audits."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    UniqueConstraint,
)

from db.evaluation_tables import share
from db.metadata import identity, metadata, reference, text


def interval() -> list[Column[float] | CheckConstraint]:
    """Columns low and high, in order and in [0, 1]."""
    low = share("low", "Lower end of the bootstrap interval, clustered by patient")
    return [*low, *share("high", "Upper end of the interval"), CheckConstraint("low <= high", name="interval")]


def count(name: str, comment: str) -> list[Column[int] | CheckConstraint]:
    """A number of samples."""
    return [Column(name, BigInteger, nullable=False, comment=comment), CheckConstraint(f"{name} >= 0", name=name)]


def correlation(name: str, comment: str) -> list[Column[float] | CheckConstraint]:
    """A column that is NULL or in [-1, 1]."""
    return [Column(name, Double, comment=comment), CheckConstraint(f"{name} BETWEEN -1 AND 1", name=name)]


confusion_interval = Table(
    "confusion_interval",
    metadata,
    reference("evaluation", "Evaluation it belongs to"),
    reference("label", "True class", index=True),
    reference("label", "Predicted class", name="predicted_label_id", index=True),
    *interval(),
    PrimaryKeyConstraint("evaluation_id", "label_id", "predicted_label_id"),
    comment="Intervals of the shares of the true class in the confusion matrix; its counts are the predictions'",
)

baseline_difference = Table(
    "baseline_difference",
    metadata,
    reference("evaluation", "Evaluation it belongs to"),
    text("method", "Map method, as in explanation"),
    text("target", "As in explanation"),
    text("policy", "As in localization"),
    text("baseline", "whole_patch, centred_disc, mean_mask or random_weights"),
    text("population", "Samples counted: lesions, correct_lesions"),
    text("group_name", "all, or one label group"),
    Column("difference", Double, comment="Mean IoU of the map minus that of the baseline"),
    Column("low", Double, comment="Lower end of the paired bootstrap interval"),
    Column("high", Double, comment="Upper end of the interval"),
    *count("n", "Samples counted"),
    text("reason", "Why difference is NULL, or its interval", nullable=True),
    PrimaryKeyConstraint("evaluation_id", "method", "target", "policy", "baseline", "population", "group_name"),
    CheckConstraint("difference BETWEEN -1 AND 1 AND low BETWEEN -1 AND 1 AND high BETWEEN -1 AND 1", name="range"),
    CheckConstraint("low <= high", name="interval"),
    CheckConstraint("difference IS NOT NULL OR reason IS NOT NULL", name="null_has_reason"),
    comment="Paired difference between a map's LL and a baseline's, over the same lesions",
)

subgroup_score = Table(
    "subgroup_score",
    metadata,
    identity("Number of the score"),
    reference("evaluation", "Evaluation it belongs to"),
    text("subgroup", "Attribute: lesion_type, pathology, mask_fraction, subtlety, breast_density, view"),
    text("level", "Value of the attribute; unknown where the data set gives none"),
    text("name", "Which score: accuracy or ll"),
    text("method", "Headline map method, or baseline; NULL for accuracy", nullable=True),
    text("population", "Samples counted: all, lesions, correct_lesions"),
    *share("value", "The score"),
    *interval(),
    *count("n", "Samples counted"),
    text("reason", "Why the value is NULL", nullable=True),
    UniqueConstraint(
        "evaluation_id", "subgroup", "level", "name", "method", "population",
        name="uq_subgroup_score_identity", postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("value IS NOT NULL OR reason IS NOT NULL", name="null_has_reason"),
    comment="Scores of the samples that share one value of an attribute, with intervals",
)  # fmt: skip

iou_curve = Table(
    "iou_curve",
    metadata,
    reference("evaluation", "Evaluation it belongs to"),
    text("method", "As in explanation"),
    text("target", "As in explanation"),
    text("population", "Samples counted: lesions, correct_lesions"),
    text("group_name", "all, or one label group"),
    Column("threshold", Double, nullable=False, comment="Where maps are cut: 0.05, 0.10, ... 0.95"),
    *share("iou", "Mean intersection over union with the mask"),
    *interval(),
    *count("n", "Samples counted"),
    text("reason", "Why iou is NULL", nullable=True),
    PrimaryKeyConstraint("evaluation_id", "method", "target", "population", "group_name", "threshold"),
    CheckConstraint("threshold > 0 AND threshold < 1", name="threshold"),
    CheckConstraint("iou IS NOT NULL OR reason IS NOT NULL", name="null_has_reason"),
    comment="Localisation score against the threshold, with intervals",
)

quadrant = Table(
    "quadrant",
    metadata,
    identity("Number of the quadrant"),
    reference("evaluation", "Evaluation it belongs to"),
    reference("label", "Class; NULL for all lesions together", nullable=True, index=True),
    Column("correct", Boolean, nullable=False, comment="Whether the class was predicted"),
    Column("located", Boolean, nullable=False, comment="Whether the headline map's maximum lies in the mask"),
    *count("n", "Lesions in the quadrant"),
    *count("lesions", "Scored lesions of the class"),
    Column("share", Double, nullable=False, comment="n / lesions"),
    CheckConstraint("share BETWEEN 0 AND 1", name="share"),
    *interval(),
    UniqueConstraint(
        "evaluation_id", "label_id", "correct", "located",
        name="uq_quadrant_identity", postgresql_nulls_not_distinct=True,
    ),
    CheckConstraint("n <= lesions", name="split"),
    comment="Correct or not, located or not: lesions of one class, with intervals",
)  # fmt: skip

reliability = Table(
    "reliability",
    metadata,
    reference("evaluation", "Evaluation it belongs to"),
    Column("bin", SmallInteger, nullable=False, comment="Bin of the predicted class's probability, from 0"),
    Column("lower", Double, nullable=False, comment="Lower edge of the bin"),
    Column("upper", Double, nullable=False, comment="Upper edge of the bin"),
    *share("confidence", "Mean probability of the predicted class in the bin; NULL where it is empty"),
    *share("accuracy", "Share of correct predictions in the bin; NULL where it is empty"),
    *interval(),
    *count("n", "Samples in the bin"),
    PrimaryKeyConstraint("evaluation_id", "bin"),
    CheckConstraint("lower < upper", name="edges"),
    CheckConstraint("(n = 0) = (confidence IS NULL) AND (n = 0) = (accuracy IS NULL)", name="empty"),
    comment="Reliability curve: what the predicted class's probability means",
)

occlusion = Table(
    "occlusion",
    metadata,
    reference("evaluation", "Evaluation it belongs to"),
    reference("sample", "Lesion patch of the test split", index=True),
    Column("probability", Double, nullable=False, comment="Probability of the predicted class, whole patch"),
    Column("lesion_erased", Double, nullable=False, comment="Its probability with the lesion inpainted"),
    *share("control_erased", "Its probability with the same shape inpainted beside the lesion"),
    text("reason", "Why control_erased is NULL: no_room", nullable=True),
    PrimaryKeyConstraint("evaluation_id", "sample_id"),
    CheckConstraint("probability BETWEEN 0 AND 1 AND lesion_erased BETWEEN 0 AND 1", name="range"),
    CheckConstraint("control_erased IS NOT NULL OR reason IS NOT NULL", name="null_has_reason"),
    comment="Erase test: what the prediction loses without the lesion, and without as much background",
)

randomisation = Table(
    "randomisation",
    metadata,
    reference("evaluation", "Evaluation it belongs to"),
    Column("step", SmallInteger, nullable=False, comment="0 intact; -1 level of chance; then one more layer each"),
    text("layer", "Layer made random last; other samples: map of one sample against that of the next"),
    *correlation("ssim", "Mean structural similarity of activation maps to the intact model's"),
    *correlation("ssim_low", "Lower end of its interval"),
    *correlation("ssim_high", "Upper end of its interval"),
    *correlation("rank_correlation", "Mean Spearman correlation of grids with the intact model's"),
    *correlation("rank_low", "Lower end of its interval"),
    *correlation("rank_high", "Upper end of its interval"),
    *count("n", "Samples whose maps are both not blank"),
    PrimaryKeyConstraint("evaluation_id", "step"),
    CheckConstraint("step >= -1", name="step"),
    CheckConstraint("(n = 0) = (ssim IS NULL) AND (n = 0) = (rank_correlation IS NULL)", name="null_where_none"),
    comment="Do maps change when weights become random, layer by layer from the output?",
)

shortcut_score = Table(
    "shortcut_score",
    metadata,
    reference("sample_set", "Sample set that was audited"),
    text("digest", "Identity of the evaluation options and seed, as in study"),
    text("features", "What the logistic regression sees: majority, size, intensity, sharpness, all"),
    Column("accuracy", Double, nullable=False, comment="Its accuracy on the test split"),
    CheckConstraint("accuracy BETWEEN 0 AND 1", name="accuracy"),
    *interval(),
    *count("n", "Samples of the test split"),
    PrimaryKeyConstraint("sample_set_id", "digest", "features"),
    comment="Shortcut audit: how well a few numbers of every patch predict its class",
)

study_score = Table(
    "study_score",
    metadata,
    identity("Number of the score"),
    reference("study", "Study whose evaluations were taken together"),
    reference("evaluation", "Evaluation scored", index=True),
    text("name", "Which score: ll or acc_x_ll"),
    text("method", "As in explanation"),
    text("target", "As in explanation"),
    text("policy", "As in localization"),
    text("population", "Samples counted: common_lesions, those that all models of the study classify correctly"),
    text("group_name", "all, or one label group"),
    *share("value", "The score"),
    *interval(),
    *count("n", "Samples counted"),
    text("reason", "Why the value is NULL", nullable=True),
    UniqueConstraint(
        "study_id", "evaluation_id", "name", "method", "target", "policy", "population", "group_name",
        name="uq_study_score_identity",
    ),
    CheckConstraint("value IS NOT NULL OR reason IS NOT NULL", name="null_has_reason"),
    comment="Scores of an evaluation over samples that all evaluations of a study decide, with intervals",
)  # fmt: skip
