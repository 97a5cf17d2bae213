"""Tables of the prepare step: data sets as read from disk, and the samples cut from them."""

from sqlalchemy import ARRAY, CheckConstraint, Column, Index, Integer, LargeBinary, SmallInteger, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB

from db.tables.columns import document, flags, identity, moment, number, proportion, real, reference, table, text, texts

SPLITS = "('train', 'validation', 'test')"

dataset = table(
    "dataset",
    "A data set as found on disk, identified by its content",
    identity(),
    text("digest", unique=True),
    *texts("name", "kind", "root"),
    moment("created_at"),
)

label = table(
    "label",
    "A class of a data set",
    identity(),
    reference("dataset"),
    *texts("code", "name", "group_name"),
    *number(SmallInteger, "ordinal"),
    *flags("is_lesion"),
    UniqueConstraint("dataset_id", "code"),
    UniqueConstraint("dataset_id", "ordinal"),
    CheckConstraint("ordinal >= 0", name="ordinal"),
)

image = table(
    "image",
    "A full image",
    identity(),
    reference("dataset"),
    *texts("key", "patient"),
    *texts("laterality", "view", nullable=True),
    text("path"),
    *number(SmallInteger, "breast_density", nullable=True),
    text("official_split", nullable=True),
    *number(Integer, "width", "height", nullable=True),
    text("pixels", nullable=True),
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
    *number(Integer, "abnormality_id", nullable=True),
    *texts("lesion_type", "pathology", nullable=True),
    reference("label", nullable=True, index=True),
    *number(SmallInteger, "subtlety", "assessment", nullable=True),
    text("mask_path", nullable=True),
    Column("outline", JSONB),
    *texts("mask_value", "official_split", nullable=True),
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
    *number(Integer, "height", "width", "scale"),
    document("config"),
    moment("created_at"),
    moment("finished_at", nullable=True),
    CheckConstraint("height > 0 AND width > 0 AND scale > 0", name="size"),
    CheckConstraint("height % scale = 0 AND width % scale = 0", name="scale"),
)

exclusion = table(
    "exclusion",
    "A lesion or image that yields no sample, and why",
    identity(),
    reference("sample_set", index=True),
    reference("image", index=True),
    reference("lesion", nullable=True, index=True),
    *texts("reason", "detail"),
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
    *texts("entity", "split_a", "split_b"),
    *number(Integer, "shared"),
    Column("examples", ARRAY(Text), nullable=False),
    UniqueConstraint("sample_set_id", "entity", "split_a", "split_b"),
    CheckConstraint("entity IN ('patient', 'image', 'lesion', 'pixels')", name="entity"),
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
    *number(Integer, *WINDOW),
    *number(Integer, *LESION_BOX, nullable=True),
    *proportion("mask_fraction"),
    Column("pixels", LargeBinary, nullable=False),
    Column("mask", LargeBinary),
    Column("breast", LargeBinary),
    UniqueConstraint("sample_set_id", "key"),
    CheckConstraint(f"split IN {SPLITS}", name="split"),
    CheckConstraint(box("window"), name="window"),
    CheckConstraint(f"num_nulls({', '.join(LESION_BOX)}) = 4 OR ({box('lesion')})", name="lesion_box"),
    CheckConstraint(f"num_nulls({', '.join(LESION_BOX)}) IN (0, 4)", name="whole_box"),
    CheckConstraint("lesion_id IS NULL OR num_nulls(mask, mask_fraction, lesion_x0) = 0", name="lesion_has_mask"),
    Index(None, "sample_set_id", "split"),
)

sample_lesion = table(
    "sample_lesion",
    "A lesion that a film shows",
    reference("sample", primary_key=True),
    reference("lesion", primary_key=True, index=True),
    *(real(name) for name in CORNERS),
    CheckConstraint("x0 >= 0 AND y0 >= 0 AND x1 > x0 AND y1 > y0", name="box"),
)
