"""Tables of the prepare step: data sets as read from disk, and the samples cut from them."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
)

from db.tables.columns import document, identity, moment, proportion, reference, table, text

SPLITS = "('train', 'validation', 'test')"

dataset = table(
    "dataset",
    "A data set as found on disk, identified by its content",
    identity(),
    text("digest", unique=True),
    text("name"),
    text("kind"),
    text("root"),
    moment("created_at"),
)

label = table(
    "label",
    "A class of a data set",
    identity(),
    reference("dataset"),
    text("code"),
    text("name"),
    text("group_name"),
    Column("ordinal", SmallInteger, nullable=False),
    Column("is_lesion", Boolean, nullable=False),
    UniqueConstraint("dataset_id", "code"),
    UniqueConstraint("dataset_id", "ordinal"),
    CheckConstraint("ordinal >= 0", name="ordinal"),
)

image = table(
    "image",
    "A full image",
    identity(),
    reference("dataset"),
    text("key"),
    text("patient"),
    text("laterality", nullable=True),
    text("view", nullable=True),
    text("path"),
    Column("breast_density", SmallInteger),
    text("official_split", nullable=True),
    Column("width", Integer),
    Column("height", Integer),
    UniqueConstraint("dataset_id", "key"),
    CheckConstraint(f"official_split IN {SPLITS}", name="official_split"),
    CheckConstraint("width > 0 AND height > 0", name="size"),
    CheckConstraint("num_nulls(width, height) IN (0, 2)", name="whole_size"),
    Index(None, "dataset_id", "patient"),
)

lesion = table(
    "lesion",
    "One annotated finding (ROI) of an image",
    identity(),
    reference("dataset"),
    reference("image", index=True),
    text("key"),
    Column("abnormality_id", Integer),
    text("lesion_type", nullable=True),
    text("pathology", nullable=True),
    reference("label", nullable=True, index=True),
    Column("subtlety", SmallInteger),
    Column("assessment", SmallInteger),
    text("mask_path", nullable=True),
    text("official_split", nullable=True),
    UniqueConstraint("dataset_id", "key"),
    CheckConstraint(f"official_split IN {SPLITS}", name="official_split"),
)

overview = table(
    "overview",
    "Some whole images at a small size, to see where windows lie",
    identity(),
    reference("image", unique=True),
    Column("pixels", LargeBinary, nullable=False),
)

sample_set = table(
    "sample_set",
    "Samples cut from a data set in one way",
    identity(),
    reference("dataset", index=True),
    text("digest", unique=True),
    Column("size", Integer, nullable=False),
    document("config"),
    moment("created_at"),
    moment("finished_at", nullable=True),
    CheckConstraint("size > 0", name="size"),
)

exclusion = table(
    "exclusion",
    "A lesion or image that yields no sample, and why",
    identity(),
    reference("sample_set", index=True),
    reference("image", index=True),
    reference("lesion", nullable=True, index=True),
    text("reason"),
    text("detail"),
)

normalisation = table(
    "normalisation",
    "Grey value statistics of a training split",
    identity(),
    reference("sample_set"),
    reference("label", nullable=True, index=True),
    *proportion("mean", nullable=False),
    *proportion("std", nullable=False),
    UniqueConstraint("sample_set_id", "label_id", postgresql_nulls_not_distinct=True),
)

split_check = table(
    "split_check",
    "Leak check between two splits of a sample set",
    identity(),
    reference("sample_set"),
    text("unit"),
    text("split_a"),
    text("split_b"),
    Column("shared", Integer, nullable=False),
    Column("examples", ARRAY(Text), nullable=False),
    UniqueConstraint("sample_set_id", "unit", "split_a", "split_b"),
    CheckConstraint("unit IN ('patient', 'image', 'lesion')", name="unit"),
    CheckConstraint(f"split_a IN {SPLITS} AND split_b IN {SPLITS} AND split_a <> split_b", name="splits"),
    CheckConstraint("shared >= 0", name="shared"),
)

CORNERS = ("x0", "y0", "x1", "y1")
WINDOW, LESION_BOX = (tuple(f"{name}_{corner}" for corner in CORNERS) for name in ("window", "lesion"))


def box(name: str) -> str:
    """That a box holds a pixel and begins inside the image."""
    return f"{name}_x0 >= 0 AND {name}_y0 >= 0 AND {name}_x1 > {name}_x0 AND {name}_y1 > {name}_y0"


sample = table(
    "sample",
    "A window of an image, resized, with its mask",
    identity(),
    reference("sample_set"),
    text("key"),
    reference("label", index=True),
    reference("image", index=True),
    reference("lesion", nullable=True, index=True),
    text("split"),
    *(Column(name, Integer, nullable=False) for name in WINDOW),
    *(Column(name, Integer) for name in LESION_BOX),
    *proportion("mask_fraction"),
    Column("pixels", LargeBinary, nullable=False),
    Column("mask", LargeBinary),
    UniqueConstraint("sample_set_id", "key"),
    CheckConstraint(f"split IN {SPLITS}", name="split"),
    CheckConstraint(box("window"), name="window"),
    CheckConstraint(f"num_nulls({', '.join(LESION_BOX)}) = 4 OR ({box('lesion')})", name="lesion_box"),
    CheckConstraint(f"num_nulls({', '.join(LESION_BOX)}) IN (0, 4)", name="whole_box"),
    CheckConstraint("lesion_id IS NULL OR num_nulls(mask, mask_fraction, lesion_x0) = 0", name="lesion_has_mask"),
    Index(None, "sample_set_id", "split"),
)
