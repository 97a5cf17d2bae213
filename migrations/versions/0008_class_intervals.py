"""Intervals of the scores of each class."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parent.parent / "views"
COLUMNS = [
    (f"{name}_{end}", f"{word} end of the interval of {name}")
    for name in ("precision", "recall", "f1", "auc", "auc_hard")
    for end, word in (("low", "Lower"), ("high", "Upper"))
]
GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        GRANT SELECT ON table_3_auc TO lesionlens_reader;
    END IF;
END $$
"""


def upgrade() -> None:
    for name, comment in COLUMNS:
        op.add_column("class_score", sa.Column(name, sa.Double(), nullable=True, comment=comment))
        op.create_check_constraint(op.f(f"ck_class_score_{name}"), "class_score", f"{name} BETWEEN 0 AND 1")
    op.execute((VIEWS / revision / "table_3_auc.sql").read_text())


def downgrade() -> None:
    # a view can lose columns only by being made anew
    op.execute("DROP VIEW table_3_auc")
    op.execute((VIEWS / "0004" / "table_3_auc.sql").read_text())
    op.execute(GRANT)
    for name, _ in reversed(COLUMNS):
        op.drop_column("class_score", name)
