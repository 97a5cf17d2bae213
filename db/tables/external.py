"""Tables of finished runs evaluated on other data sets."""

from sqlalchemy import ARRAY, CheckConstraint, Column, Text

from db.tables.columns import count, explained, flags, proportion, reference, table, text

external_evaluation = table(
    "external_evaluation",
    "An evaluation of a finished run on another data set, with thresholds and statistics of its own study",
    reference("evaluation", primary_key=True),
    reference("evaluation", name="internal_id", index=True),
    reference("sample_set", index=True),
    *flags("is_external"),
    *count("left_out"),
    *(Column(name, ARRAY(Text), nullable=False) for name in ("shared_images", "shared_patients", "missing_classes")),
    CheckConstraint("is_external = (cardinality(shared_images) = 0)", name="is_external"),
    CheckConstraint("evaluation_id <> internal_id", name="two"),
)

external_score = table(
    "external_score",
    "A run's scores on its own test split and on another data set, and their difference",
    reference("evaluation", primary_key=True),
    text("measure", primary_key=True),
    *(x for side in ("internal", "external") for end in ("", "_low", "_high") for x in proportion(side + end)),
    *(x for end in ("", "_low", "_high") for x in proportion(f"difference{end}", lowest=-1)),
    *(x for side in ("internal", "external") for what in ("n", "patients") for x in count(f"{side}_{what}")),
    text("reason", nullable=True),
    explained("difference"),
)
