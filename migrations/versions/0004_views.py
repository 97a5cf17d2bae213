"""Views for analysts, with the study's own table numbers, and the role that may read them."""

from collections.abc import Sequence
from pathlib import Path

from alembic import op

revision: str = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels = None
depends_on = None

# in the order of their making: a view may read the ones before it
VIEWS = (
    "study_evaluations",
    "table_1_patches",
    "table_2_accuracy",
    "table_3_auc",
    "table_4_localization",
    "confusion_matrix",
    "sample_results",
    "selected_runs",
    "exclusion_reasons",
)
FOLDER = Path(__file__).resolve().parent.parent / "views" / revision

# roles belong to the whole server: other databases on it may have made this one, or we may not be allowed to
READER = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        CREATE ROLE lesionlens_reader NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'this user may not create roles: ask an administrator for lesionlens_reader';
END $$
"""
GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        GRANT USAGE ON SCHEMA public TO lesionlens_reader;
        GRANT SELECT ON {views} TO lesionlens_reader;
    END IF;
END $$
"""


def upgrade() -> None:
    for view in VIEWS:
        op.execute((FOLDER / f"{view}.sql").read_text())
    op.execute(READER)
    op.execute(GRANT.format(views=", ".join(VIEWS)))


def downgrade() -> None:
    # the role stays: other databases of the server may use it
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
