"""Data sets and patches."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the data set"),
        sa.Column("digest", sa.Text(), nullable=False, comment="Identity by content: case files, file names and sizes"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name as shown in reports"),
        sa.Column("kind", sa.Text(), nullable=False, comment="Layout of the files, for example cbis_kaggle"),
        sa.Column("root", sa.Text(), nullable=False, comment="Folder it was last read from; not part of its identity"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was first read",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("digest", name=op.f("uq_dataset_digest")),
        comment="A data set as found on disk, identified by its content",
    )
    op.create_table(
        "image",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the image"),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False, comment="Data set of the image"),
        sa.Column("key", sa.Text(), nullable=False, comment="Name of the image, unique in the data set"),
        sa.Column("patient", sa.Text(), nullable=False, comment="Patient identifier as the data set gives it"),
        sa.Column("laterality", sa.Text(), nullable=True, comment="Breast side"),
        sa.Column("view", sa.Text(), nullable=True, comment="Projection: CC or MLO"),
        sa.Column("path", sa.Text(), nullable=False, comment="File, relative to the data set's root"),
        sa.Column("breast_density", sa.SmallInteger(), nullable=True, comment="BI-RADS breast density category"),
        sa.Column(
            "official_split", sa.Text(), nullable=True, comment="Split that the data set's makers put the image in"
        ),
        sa.CheckConstraint("official_split IN ('train', 'test')", name=op.f("ck_image_official_part")),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_image_dataset_id_dataset"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("dataset_id", "key", name=op.f("uq_image_dataset_id_key")),
        comment="A full image",
    )
    op.create_index(op.f("ix_image_dataset_id_patient"), "image", ["dataset_id", "patient"], unique=False)
    op.create_table(
        "label",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the label"),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False, comment="Data set that brings this label"),
        sa.Column("code", sa.Text(), nullable=False, comment="Short code, for example MM"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name in words, for example malignant mass"),
        sa.Column(
            "group_name",
            sa.Text(),
            nullable=False,
            comment="Group for pooled reporting: background, calcification, mass",
        ),
        sa.Column(
            "ordinal", sa.SmallInteger(), nullable=False, comment="Position among the labels of its data set, from 0"
        ),
        sa.Column("is_lesion", sa.Boolean(), nullable=False, comment="Whether patches of this label hold a lesion"),
        sa.CheckConstraint("ordinal >= 0", name=op.f("ck_label_ordinal")),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_label_dataset_id_dataset"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
        sa.UniqueConstraint("dataset_id", "code", name=op.f("uq_label_dataset_id_code")),
        sa.UniqueConstraint("dataset_id", "ordinal", name=op.f("uq_label_dataset_id_ordinal")),
        comment="A class of a data set",
    )
    op.create_table(
        "sample_set",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the sample set"),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False, comment="Data set the patches were cut from"),
        sa.Column("digest", sa.Text(), nullable=False, comment="Identity by content: data set, options and seed"),
        sa.Column("size", sa.Integer(), nullable=False, comment="Side of a stored patch in pixels"),
        sa.Column(
            "config",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Options that decided windows, background and split",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the set was stored",
        ),
        sa.CheckConstraint("size > 0", name=op.f("ck_sample_set_size")),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_sample_set_dataset_id_dataset"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample_set")),
        sa.UniqueConstraint("digest", name=op.f("uq_sample_set_digest")),
        comment="Patches cut from a data set in one way",
    )
    op.create_index(op.f("ix_sample_set_dataset_id"), "sample_set", ["dataset_id"], unique=False)
    op.create_table(
        "lesion",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the lesion"),
        sa.Column("dataset_id", sa.BigInteger(), nullable=False, comment="Data set of the lesion"),
        sa.Column("image_id", sa.BigInteger(), nullable=False, comment="Image that the lesion was outlined on"),
        sa.Column("key", sa.Text(), nullable=False, comment="Name of the lesion, unique in the data set"),
        sa.Column("abnormality_id", sa.Integer(), nullable=True, comment="Number of the finding within its image"),
        sa.Column("lesion_type", sa.Text(), nullable=False, comment="Mass or calcification"),
        sa.Column("pathology", sa.Text(), nullable=False, comment="Verified pathology as the case file gives it"),
        sa.Column(
            "label_id",
            sa.BigInteger(),
            nullable=True,
            comment="Class it belongs to; NULL where it is of no target class",
        ),
        sa.Column("subtlety", sa.SmallInteger(), nullable=True, comment="Radiologist's rating, 1 subtle to 5 obvious"),
        sa.Column("assessment", sa.SmallInteger(), nullable=True, comment="BI-RADS assessment, 0 to 5"),
        sa.Column(
            "mask_path",
            sa.Text(),
            nullable=True,
            comment="Mask file, relative to the data set's root; NULL where none was found",
        ),
        sa.Column(
            "official_split", sa.Text(), nullable=True, comment="Split that the data set's makers put the lesion in"
        ),
        sa.CheckConstraint("official_split IN ('train', 'test')", name=op.f("ck_lesion_official_part")),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_lesion_dataset_id_dataset"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_lesion_image_id_image"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name=op.f("fk_lesion_label_id_label"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lesion")),
        sa.UniqueConstraint("dataset_id", "key", name=op.f("uq_lesion_dataset_id_key")),
        comment="One outlined finding (ROI) of an image",
    )
    op.create_index(op.f("ix_lesion_image_id"), "lesion", ["image_id"], unique=False)
    op.create_index(op.f("ix_lesion_label_id"), "lesion", ["label_id"], unique=False)
    op.create_table(
        "normalisation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the row"),
        sa.Column(
            "sample_set_id", sa.BigInteger(), nullable=False, comment="Sample set whose training split was measured"
        ),
        sa.Column(
            "label_id", sa.BigInteger(), nullable=True, comment="Class measured alone; NULL for all classes together"
        ),
        sa.Column("mean", sa.Double(), nullable=False, comment="Mean grey value, 0 to 1"),
        sa.Column("std", sa.Double(), nullable=False, comment="Standard deviation of grey values, 0 to 1"),
        sa.CheckConstraint("mean BETWEEN 0 AND 1 AND std BETWEEN 0 AND 1", name=op.f("ck_normalisation_range")),
        sa.ForeignKeyConstraint(
            ["label_id"], ["label.id"], name=op.f("fk_normalisation_label_id_label"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["sample_set_id"], ["sample_set.id"], name=op.f("fk_normalisation_sample_set_id_sample_set"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_normalisation")),
        sa.UniqueConstraint(
            "sample_set_id",
            "label_id",
            name=op.f("uq_normalisation_sample_set_id_label_id"),
            postgresql_nulls_not_distinct=True,
        ),
        comment="Grey value statistics of a training split",
    )
    op.create_index(op.f("ix_normalisation_label_id"), "normalisation", ["label_id"], unique=False)
    op.create_table(
        "split_check",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the check"),
        sa.Column("sample_set_id", sa.BigInteger(), nullable=False, comment="Sample set that was checked"),
        sa.Column("unit", sa.Text(), nullable=False, comment="What must not be shared: patient, image or lesion"),
        sa.Column("split_a", sa.Text(), nullable=False, comment="One split"),
        sa.Column("split_b", sa.Text(), nullable=False, comment="The other split"),
        sa.Column("shared", sa.Integer(), nullable=False, comment="How many units both splits hold; 0 is a pass"),
        sa.Column("examples", sa.ARRAY(sa.Text()), nullable=False, comment="At most ten of the shared units"),
        sa.CheckConstraint(
            "split_a IN ('train', 'validation', 'test') AND split_b IN ('train', 'validation', 'test')"
            " AND split_a <> split_b",
            name=op.f("ck_split_check_parts"),
        ),
        sa.CheckConstraint("unit IN ('patient', 'image', 'lesion')", name=op.f("ck_split_check_unit")),
        sa.CheckConstraint("shared >= 0", name=op.f("ck_split_check_shared")),
        sa.ForeignKeyConstraint(
            ["sample_set_id"], ["sample_set.id"], name=op.f("fk_split_check_sample_set_id_sample_set"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_split_check")),
        sa.UniqueConstraint(
            "sample_set_id", "unit", "split_a", "split_b", name=op.f("uq_split_check_sample_set_id_unit_part_a_part_b")
        ),
        comment="Leak check between two parts of a sample set",
    )
    op.create_table(
        "exclusion",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the exclusion"),
        sa.Column("sample_set_id", sa.BigInteger(), nullable=False, comment="Sample set that lacks it"),
        sa.Column("image_id", sa.BigInteger(), nullable=False, comment="Image concerned"),
        sa.Column(
            "lesion_id", sa.BigInteger(), nullable=True, comment="Lesion concerned; NULL where the whole image is"
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="Fixed short code"),
        sa.Column("detail", sa.Text(), nullable=False, comment="What was found, in words; may be empty"),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_exclusion_image_id_image"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["lesion_id"], ["lesion.id"], name=op.f("fk_exclusion_lesion_id_lesion"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["sample_set_id"], ["sample_set.id"], name=op.f("fk_exclusion_sample_set_id_sample_set"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exclusion")),
        comment="A lesion or image that yields no patch, and why",
    )
    op.create_index(op.f("ix_exclusion_image_id"), "exclusion", ["image_id"], unique=False)
    op.create_index(op.f("ix_exclusion_lesion_id"), "exclusion", ["lesion_id"], unique=False)
    op.create_index(op.f("ix_exclusion_sample_set_id"), "exclusion", ["sample_set_id"], unique=False)
    op.create_table(
        "sample",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Number of the patch; ascending in the order of storing",
        ),
        sa.Column("sample_set_id", sa.BigInteger(), nullable=False, comment="Sample set it belongs to"),
        sa.Column("key", sa.Text(), nullable=False, comment="Name of the patch, the same for the same content"),
        sa.Column("label_id", sa.BigInteger(), nullable=False, comment="Class of the patch"),
        sa.Column("image_id", sa.BigInteger(), nullable=False, comment="Image it was cut from"),
        sa.Column("lesion_id", sa.BigInteger(), nullable=True, comment="Lesion it shows; NULL for background"),
        sa.Column("split", sa.Text(), nullable=False, comment="train, validation or test"),
        sa.Column(
            "window_x0", sa.Integer(), nullable=False, comment="Left edge of the window in the full image, pixels"
        ),
        sa.Column("window_y0", sa.Integer(), nullable=False, comment="Upper edge of the window, pixels"),
        sa.Column("window_x1", sa.Integer(), nullable=False, comment="Right edge of the window, exclusive"),
        sa.Column("window_y1", sa.Integer(), nullable=False, comment="Lower edge of the window, exclusive"),
        sa.Column(
            "lesion_x0",
            sa.Integer(),
            nullable=True,
            comment="Left edge of the lesion's box in the full image; NULL for background",
        ),
        sa.Column("lesion_y0", sa.Integer(), nullable=True, comment="Upper edge of the lesion's box"),
        sa.Column("lesion_x1", sa.Integer(), nullable=True, comment="Right edge of the lesion's box, exclusive"),
        sa.Column("lesion_y1", sa.Integer(), nullable=True, comment="Lower edge of the lesion's box, exclusive"),
        sa.Column(
            "mask_fraction",
            sa.Double(),
            nullable=True,
            comment="Share of window pixels inside the mask; NULL for background",
        ),
        sa.Column("pixels", sa.LargeBinary(), nullable=False, comment="Grey values as lossless PNG, size x size"),
        sa.Column(
            "mask",
            sa.LargeBinary(),
            nullable=True,
            comment="Lesion mask as lossless PNG, size x size; NULL for background",
        ),
        sa.CheckConstraint("split IN ('train', 'validation', 'test')", name=op.f("ck_sample_part")),
        sa.CheckConstraint(
            "lesion_id IS NULL OR num_nulls(mask, mask_fraction, lesion_x0) = 0", name=op.f("ck_sample_lesion_has_mask")
        ),
        sa.CheckConstraint("mask_fraction BETWEEN 0 AND 1", name=op.f("ck_sample_mask_fraction")),
        sa.CheckConstraint(
            "num_nulls(lesion_x0, lesion_y0, lesion_x1, lesion_y1) = 4"
            " OR (lesion_x0 >= 0 AND lesion_y0 >= 0 AND lesion_x1 > lesion_x0 AND lesion_y1 > lesion_y0)",
            name=op.f("ck_sample_lesion_box"),
        ),
        sa.CheckConstraint(
            "num_nulls(lesion_x0, lesion_y0, lesion_x1, lesion_y1) IN (0, 4)", name=op.f("ck_sample_whole_box")
        ),
        sa.CheckConstraint(
            "window_x0 >= 0 AND window_y0 >= 0 AND window_x1 > window_x0 AND window_y1 > window_y0",
            name=op.f("ck_sample_window"),
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_sample_image_id_image"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name=op.f("fk_sample_label_id_label"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["lesion_id"], ["lesion.id"], name=op.f("fk_sample_lesion_id_lesion"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["sample_set_id"], ["sample_set.id"], name=op.f("fk_sample_sample_set_id_sample_set"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample")),
        sa.UniqueConstraint("sample_set_id", "key", name=op.f("uq_sample_sample_set_id_key")),
        comment="A window of an image, resized, with its mask",
    )
    op.create_index(op.f("ix_sample_image_id"), "sample", ["image_id"], unique=False)
    op.create_index(op.f("ix_sample_label_id"), "sample", ["label_id"], unique=False)
    op.create_index(op.f("ix_sample_lesion_id"), "sample", ["lesion_id"], unique=False)
    op.create_index(op.f("ix_sample_sample_set_id_part"), "sample", ["sample_set_id", "split"], unique=False)
    # PNG is compressed already: store it as it is
    for column in ("pixels", "mask"):
        op.execute(f"ALTER TABLE sample ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_index(op.f("ix_sample_sample_set_id_part"), table_name="sample")
    op.drop_index(op.f("ix_sample_lesion_id"), table_name="sample")
    op.drop_index(op.f("ix_sample_label_id"), table_name="sample")
    op.drop_index(op.f("ix_sample_image_id"), table_name="sample")
    op.drop_table("sample")
    op.drop_index(op.f("ix_exclusion_sample_set_id"), table_name="exclusion")
    op.drop_index(op.f("ix_exclusion_lesion_id"), table_name="exclusion")
    op.drop_index(op.f("ix_exclusion_image_id"), table_name="exclusion")
    op.drop_table("exclusion")
    op.drop_table("split_check")
    op.drop_index(op.f("ix_normalisation_label_id"), table_name="normalisation")
    op.drop_table("normalisation")
    op.drop_index(op.f("ix_lesion_label_id"), table_name="lesion")
    op.drop_index(op.f("ix_lesion_image_id"), table_name="lesion")
    op.drop_table("lesion")
    op.drop_index(op.f("ix_sample_set_dataset_id"), table_name="sample_set")
    op.drop_table("sample_set")
    op.drop_table("label")
    op.drop_index(op.f("ix_image_dataset_id_patient"), table_name="image")
    op.drop_table("image")
    op.drop_table("dataset")
