"""What the splits of the data set's makers share: the leak check counts patches, and fewer patients have some."""

from collections.abc import Sequence
from pathlib import Path

from alembic import op

revision: str = "0013"
down_revision: str | Sequence[str] | None = "0012"
branch_labels = None
depends_on = None

VIEW = Path(__file__).resolve().parent.parent / "views" / revision / "official_overlap.sql"
GRANT = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'lesionlens_reader') THEN
        GRANT SELECT ON official_overlap TO lesionlens_reader;
    END IF;
END $$
"""


def upgrade() -> None:
    op.execute(VIEW.read_text())
    op.execute(GRANT)


def downgrade() -> None:
    op.execute("DROP VIEW official_overlap")
