"""Comparisons of studies or runs are kept as pages, so that a link to one opens wherever the record is."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | Sequence[str] | None = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "comparison_page",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the page"),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the page"),
        sa.Column("path", sa.Text(), nullable=False, comment="Where it was written"),
        sa.Column("html", sa.LargeBinary(), nullable=False, comment="The page itself, UTF-8"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was rendered",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comparison_page")),
        sa.UniqueConstraint("digest", name=op.f("uq_comparison_page_digest")),
        comment="Rendered comparisons of studies or runs",
    )


def downgrade() -> None:
    op.drop_table("comparison_page")
