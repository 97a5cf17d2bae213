"""Select runs, and date them, by the weights that are evaluated.

A run of several phases evaluates the best epoch of its last phase. An earlier phase may have had a lower validation
loss, and the views took that one.
"""

from collections.abc import Sequence
from pathlib import Path

from alembic import op

revision: str = "0005"
down_revision: str | Sequence[str] | None = "0004"
branch_labels = None
depends_on = None

VIEWS = ("table_2_accuracy", "selected_runs")
FOLDER = Path(__file__).resolve().parent.parent / "views"


def upgrade() -> None:
    for view in VIEWS:
        op.execute((FOLDER / revision / f"{view}.sql").read_text())


def downgrade() -> None:
    for view in VIEWS:
        before = (FOLDER / "0004" / f"{view}.sql").read_text()
        op.execute(before.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
