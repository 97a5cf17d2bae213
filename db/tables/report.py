"""Tables of the report step: rendered pages."""

from sqlalchemy import Column, LargeBinary, UniqueConstraint

from db.tables.columns import identity, moment, reference, table, text, texts

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
