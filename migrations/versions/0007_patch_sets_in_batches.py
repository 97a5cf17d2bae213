"""Sample sets that are stored in batches, small whole images, and data sets that say less or more than CBIS-DDSM."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels = None
depends_on = None

NAMED = {
    "lesion_type": ("Mass or calcification", "Mass or calcification; NULL where the data set does not say"),
    "pathology": (
        "Verified pathology as the case file gives it",
        "Verified pathology as the case file gives it; NULL where there is none",
    ),
}
GROUPS = (
    "Group for pooled reporting: background, calcification, mass",
    "Group for pooled reporting, for example calcification",
)
CREATED = ("When the set was stored", "When the set was begun")


def upgrade() -> None:
    _splits("'train', 'validation', 'test'")
    for column, (old, new) in NAMED.items():
        op.alter_column("lesion", column, existing_type=sa.Text(), nullable=True, comment=new, existing_comment=old)
    _comment("label", "group_name", sa.Text(), GROUPS[0], GROUPS[1])
    _comment("sample_set", "created_at", sa.DateTime(timezone=True), *CREATED)
    op.add_column(
        "sample_set",
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When its last patch was stored; NULL while it is being cut",
        ),
    )
    op.execute("UPDATE sample_set SET finished_at = created_at")
    op.create_table(
        "overview",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the row"),
        sa.Column("image_id", sa.BigInteger(), nullable=False, comment="Image that it shows"),
        sa.Column("width", sa.Integer(), nullable=False, comment="Width of the full image in pixels"),
        sa.Column("height", sa.Integer(), nullable=False, comment="Height of the full image in pixels"),
        sa.Column(
            "pixels",
            sa.LargeBinary(),
            nullable=False,
            comment="The whole image as WebP, its longer side 320 pixels",
        ),
        sa.CheckConstraint("width > 0 AND height > 0", name=op.f("ck_overview_size")),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_overview_image_id_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_overview")),
        sa.UniqueConstraint("image_id", name=op.f("uq_overview_image_id")),
        comment="Some images small and whole, so that a person can look at where windows lie",
    )
    op.execute("ALTER TABLE overview ALTER COLUMN pixels SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("overview")
    # a set that is still being cut is not yet a set to the revision below
    op.execute("DELETE FROM sample_set WHERE finished_at IS NULL")
    op.drop_column("sample_set", "finished_at")
    _comment("sample_set", "created_at", sa.DateTime(timezone=True), *reversed(CREATED))
    _comment("label", "group_name", sa.Text(), GROUPS[1], GROUPS[0])
    # data sets that the revision below can't hold go with all that was made from them
    op.execute(
        "DELETE FROM dataset USING lesion WHERE lesion.dataset_id = dataset.id"
        " AND (lesion.lesion_type IS NULL OR lesion.pathology IS NULL)"
    )
    op.execute("DELETE FROM dataset USING image WHERE image.dataset_id = dataset.id AND official_split = 'validation'")
    for column, (old, new) in NAMED.items():
        op.alter_column("lesion", column, existing_type=sa.Text(), nullable=False, comment=old, existing_comment=new)
    _splits("'train', 'test'")


def _comment(table: str, column: str, kind: sa.types.TypeEngine[object], old: str, new: str) -> None:
    nullable = {"existing_nullable": False, "existing_type": kind}
    op.alter_column(table, column, comment=new, existing_comment=old, **nullable)


def _splits(names: str) -> None:
    for table in ("image", "lesion"):
        name = op.f(f"ck_{table}_official_part")
        op.drop_constraint(name, table, type_="check")
        op.create_check_constraint(name, table, f"official_split IN ({names})")
