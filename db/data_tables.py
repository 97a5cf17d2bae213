"""Tables of the prepare stage: data set, labels, images, lesions, sample sets, patches."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from db.metadata import document, identity, metadata, moment, reference, text

dataset = Table(
    "dataset",
    metadata,
    identity("Number of the data set"),
    text("digest", "Identity by content: case files, file names and sizes", unique=True),
    text("name", "Name as shown in reports"),
    text("kind", "Layout of the files, for example cbis_kaggle"),
    text("root", "Folder it was last read from; not part of its identity"),
    moment("created_at", "When it was first read"),
    comment="A data set as found on disk, identified by its content",
)

label = Table(
    "label",
    metadata,
    identity("Number of the label"),
    reference("dataset", "Data set that brings this label"),
    text("code", "Short code, for example MM"),
    text("name", "Name in words, for example malignant mass"),
    text("group_name", "Group for pooled reporting, for example calcification"),
    Column("ordinal", SmallInteger, nullable=False, comment="Position among the labels of its data set, from 0"),
    Column("is_lesion", Boolean, nullable=False, comment="Whether patches of this label hold a lesion"),
    UniqueConstraint("dataset_id", "code"),
    UniqueConstraint("dataset_id", "ordinal"),
    CheckConstraint("ordinal >= 0", name="ordinal"),
    comment="A class of a data set",
)

image = Table(
    "image",
    metadata,
    identity("Number of the image"),
    reference("dataset", "Data set of the image"),
    text("key", "Name of the image, unique in the data set"),
    text("patient", "Patient identifier as the data set gives it"),
    text("laterality", "Breast side", nullable=True),
    text("view", "Projection: CC or MLO", nullable=True),
    text("path", "File, relative to the data set's root"),
    Column("breast_density", SmallInteger, comment="BI-RADS breast density category"),
    text("official_split", "Split that the data set's makers put the image in", nullable=True),
    Column("width", Integer, comment="Width in pixels; NULL until it was first decoded"),
    Column("height", Integer, comment="Height in pixels; NULL until it was first decoded"),
    UniqueConstraint("dataset_id", "key"),
    CheckConstraint("official_split IN ('train', 'validation', 'test')", name="official_split"),
    CheckConstraint("width > 0 AND height > 0", name="size"),
    CheckConstraint("num_nulls(width, height) IN (0, 2)", name="whole_size"),
    Index(None, "dataset_id", "patient"),
    comment="A full image",
)

lesion = Table(
    "lesion",
    metadata,
    identity("Number of the lesion"),
    reference("dataset", "Data set of the lesion"),
    reference("image", "Image that the lesion was outlined on", index=True),
    text("key", "Name of the lesion, unique in the data set"),
    Column("abnormality_id", Integer, comment="Number of the finding within its image"),
    text("lesion_type", "Mass or calcification; NULL where the data set does not say", nullable=True),
    text("pathology", "Verified pathology as the case file gives it; NULL where there is none", nullable=True),
    reference("label", "Class it belongs to; NULL where it is of no target class", nullable=True, index=True),
    Column("subtlety", SmallInteger, comment="Radiologist's rating, 1 subtle to 5 obvious"),
    Column("assessment", SmallInteger, comment="BI-RADS assessment, 0 to 5"),
    text("mask_path", "Mask file, relative to the data set's root; NULL where none was found", nullable=True),
    text("official_split", "Split that the data set's makers put the lesion in", nullable=True),
    UniqueConstraint("dataset_id", "key"),
    CheckConstraint("official_split IN ('train', 'validation', 'test')", name="official_split"),
    comment="One outlined finding (ROI) of an image",
)

overview = Table(
    "overview",
    metadata,
    identity("Number of the row"),
    reference("image", "Image that it shows", unique=True),
    Column("pixels", LargeBinary, nullable=False, comment="The whole image as WebP, its longer side 320 pixels"),
    comment="Some images small and whole, so that a person can look at where windows lie",
)

sample_set = Table(
    "sample_set",
    metadata,
    identity("Number of the sample set"),
    reference("dataset", "Data set the patches were cut from", index=True),
    text("digest", "Identity by content: data set, options and seed", unique=True),
    Column("size", Integer, nullable=False, comment="Side of a stored patch in pixels"),
    document("config", "Options that decided windows, background and split"),
    moment("created_at", "When the set was begun"),
    moment("finished_at", "When its last patch was stored; NULL while it is being cut", nullable=True),
    CheckConstraint("size > 0", name="size"),
    comment="Patches cut from a data set in one way",
)

exclusion = Table(
    "exclusion",
    metadata,
    identity("Number of the exclusion"),
    reference("sample_set", "Sample set that lacks it", index=True),
    reference("image", "Image concerned", index=True),
    reference("lesion", "Lesion concerned; NULL where the whole image is", nullable=True, index=True),
    text("reason", "Fixed short code"),
    text("detail", "What was found, in words; may be empty"),
    comment="A lesion or image that yields no patch, and why",
)

normalisation = Table(
    "normalisation",
    metadata,
    identity("Number of the row"),
    reference("sample_set", "Sample set whose training split was measured"),
    reference("label", "Class measured alone; NULL for all classes together", nullable=True, index=True),
    Column("mean", Double, nullable=False, comment="Mean grey value, 0 to 1"),
    Column("std", Double, nullable=False, comment="Standard deviation of grey values, 0 to 1"),
    UniqueConstraint("sample_set_id", "label_id", postgresql_nulls_not_distinct=True),
    CheckConstraint("mean BETWEEN 0 AND 1 AND std BETWEEN 0 AND 1", name="range"),
    comment="Grey value statistics of a training split",
)

split_check = Table(
    "split_check",
    metadata,
    identity("Number of the check"),
    reference("sample_set", "Sample set that was checked"),
    text("unit", "What must not be shared: patient, image or lesion"),
    text("split_a", "One split"),
    text("split_b", "The other split"),
    Column("shared", Integer, nullable=False, comment="How many units both splits hold; 0 is a pass"),
    Column("examples", ARRAY(Text), nullable=False, comment="At most ten of the shared units"),
    UniqueConstraint("sample_set_id", "unit", "split_a", "split_b"),
    CheckConstraint("unit IN ('patient', 'image', 'lesion')", name="unit"),
    CheckConstraint(
        "split_a IN ('train', 'validation', 'test') AND split_b IN ('train', 'validation', 'test')"
        " AND split_a <> split_b",
        name="splits",
    ),
    CheckConstraint("shared >= 0", name="shared"),
    comment="Leak check between two parts of a sample set",
)

WINDOW = "window_x0 >= 0 AND window_y0 >= 0 AND window_x1 > window_x0 AND window_y1 > window_y0"
LESION_BOX = "lesion_x0 >= 0 AND lesion_y0 >= 0 AND lesion_x1 > lesion_x0 AND lesion_y1 > lesion_y0"

sample = Table(
    "sample",
    metadata,
    identity("Number of the patch; ascending in the order of storing"),
    reference("sample_set", "Sample set it belongs to"),
    text("key", "Name of the patch, the same for the same content"),
    reference("label", "Class of the patch", index=True),
    reference("image", "Image it was cut from", index=True),
    reference("lesion", "Lesion it shows; NULL for background", nullable=True, index=True),
    text("split", "train, validation or test"),
    Column("window_x0", Integer, nullable=False, comment="Left edge of the window in the full image, pixels"),
    Column("window_y0", Integer, nullable=False, comment="Upper edge of the window, pixels"),
    Column("window_x1", Integer, nullable=False, comment="Right edge of the window, exclusive"),
    Column("window_y1", Integer, nullable=False, comment="Lower edge of the window, exclusive"),
    Column("lesion_x0", Integer, comment="Left edge of the lesion's box in the full image; NULL for background"),
    Column("lesion_y0", Integer, comment="Upper edge of the lesion's box"),
    Column("lesion_x1", Integer, comment="Right edge of the lesion's box, exclusive"),
    Column("lesion_y1", Integer, comment="Lower edge of the lesion's box, exclusive"),
    Column("mask_fraction", Double, comment="Share of window pixels inside the mask; NULL for background"),
    Column("pixels", LargeBinary, nullable=False, comment="Grey values, one byte each, row by row, size x size"),
    Column(
        "mask",
        LargeBinary,
        comment="Lesion mask, one bit a pixel, row by row, the first in the highest bit; NULL for background",
    ),
    UniqueConstraint("sample_set_id", "key"),
    CheckConstraint("split IN ('train', 'validation', 'test')", name="split"),
    CheckConstraint(WINDOW, name="window"),
    CheckConstraint(f"num_nulls(lesion_x0, lesion_y0, lesion_x1, lesion_y1) = 4 OR ({LESION_BOX})", name="lesion_box"),
    CheckConstraint("num_nulls(lesion_x0, lesion_y0, lesion_x1, lesion_y1) IN (0, 4)", name="whole_box"),
    CheckConstraint("mask_fraction BETWEEN 0 AND 1", name="mask_fraction"),
    CheckConstraint("lesion_id IS NULL OR num_nulls(mask, mask_fraction, lesion_x0) = 0", name="lesion_has_mask"),
    Index(None, "sample_set_id", "split"),
    comment="A window of an image, resized, with its mask",
)
