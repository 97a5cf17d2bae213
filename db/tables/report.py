"""Tables of the report step: the answers, rendered pages."""

from sqlalchemy import ARRAY, CheckConstraint, Column, LargeBinary, Text, UniqueConstraint

from db.tables.columns import count, identity, interval, moment, proportion, reference, table, text, texts

answer = table(
    "answer",
    "What a study answers to a question about a group of lesions, as its report gives it",
    identity(),
    reference("study"),
    reference("run", index=True),
    text("question"),
    text("group_name", nullable=True),
    *texts("verdict", "measure"),
    *proportion("number", lowest=-1),
    *interval(lowest=-1),
    *count("n"),
    *count("n_patients"),
    Column("reasons", ARRAY(Text), nullable=False),
    text("sentence"),
    UniqueConstraint(
        "study_id", "question", "group_name", name="uq_answer_identity", postgresql_nulls_not_distinct=True
    ),
    CheckConstraint("question IN ('detection', 'diagnosis')", name="question"),
    CheckConstraint("verdict IN ('yes', 'partly', 'no', 'not shown')", name="verdict"),
)

report = table(
    "report",
    "Rendered reports of studies",
    identity(),
    reference("study"),
    *texts("digest", "path"),
    Column("html", LargeBinary, nullable=False),
    moment("created_at"),
    UniqueConstraint("study_id", "digest"),
)

comparison_page = table(
    "comparison_page",
    "Rendered comparisons of studies or runs",
    identity(),
    text("digest", unique=True),
    text("path"),
    Column("html", LargeBinary, nullable=False),
    moment("created_at"),
)
