"""Tables of the evaluate step, one row per sample: predictions, maps, how well they meet the mask, occlusion."""

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    UniqueConstraint,
)

from db.tables.columns import (
    document,
    explained,
    flags,
    identity,
    moment,
    number,
    proportion,
    real,
    reference,
    scored,
    table,
    text,
    texts,
)


def whole(name: str) -> str:
    """That an array holds no NULL, which no comparison would refuse."""
    return f"array_position({name}, NULL) IS NULL"


def proportions(name: str) -> str:
    """That all elements of an array are in [0, 1]."""
    return f"0 <= ALL ({name}) AND 1 >= ALL ({name}) AND {whole(name)}"


evaluation = table(
    "evaluation",
    "All scores and maps of one run on the test split",
    identity(),
    reference("run"),
    text("digest"),
    document("config"),
    real("seconds"),
    moment("created_at"),
    UniqueConstraint("run_id", "digest"),
    CheckConstraint("seconds >= 0 AND seconds < 'infinity'", name="seconds"),
)

evaluation_failure = table(
    "evaluation_failure",
    "Why a trained run could not be evaluated; its training stays finished",
    reference("run", primary_key=True),
    text("digest", primary_key=True),
    text("reason"),
    moment("failed_at"),
)

prediction = table(
    "prediction",
    "Class probabilities of a sample",
    reference("evaluation", primary_key=True),
    reference("sample", primary_key=True, index=True),
    reference("label", name="predicted_label_id", index=True),
    Column("probabilities", ARRAY(REAL), nullable=False),
    CheckConstraint(proportions("probabilities"), name="range"),
    CheckConstraint("cardinality(probabilities) > 0 AND abs(array_total(probabilities) - 1) <= 1e-4", name="total"),
)

activation_map = table(
    "activation_map",
    "Map of a sample by one attribution method, and its scores that need no threshold",
    identity(),
    reference("evaluation"),
    reference("sample", index=True),
    *texts("method", "target", "layer"),
    reference("label", nullable=True, index=True),
    *number(SmallInteger, "rows", "cols", nullable=True),
    Column("grid", ARRAY(REAL)),
    *flags("blank"),
    Column("iou_curve", ARRAY(REAL)),
    *flags("hit", nullable=True),
    *proportion("energy"),
    *proportion("rank_accuracy"),
    *proportion("pixel_ap"),
    *proportion("top5"),
    real("lift", nullable=True),
    text("reason", nullable=True),
    UniqueConstraint("evaluation_id", "sample_id", "method", "target"),
    CheckConstraint("target IN ('predicted', 'true', 'none')", name="target"),
    CheckConstraint("lift >= 0 AND lift < 'infinity'", name="lift"),
    CheckConstraint("num_nulls(rows, cols) IN (0, 2) AND (grid IS NULL OR rows IS NOT NULL)", name="grid_has_shape"),
    CheckConstraint("grid IS NULL OR cardinality(grid) = rows * cols", name="grid_shape"),
    CheckConstraint(f"'-infinity' < ALL (grid) AND 'infinity' > ALL (grid) AND {whole('grid')}", name="grid_finite"),
    CheckConstraint(proportions("iou_curve"), name="iou_curve"),
    CheckConstraint(
        "num_nulls(iou_curve, hit, energy, rank_accuracy, pixel_ap, top5) = 0 OR reason IS NOT NULL OR target = 'none'",
        name="null_has_reason",
    ),
)

MAP = ("evaluation_id", "sample_id", "method", "target")

localization = table(
    "localization",
    "How well a thresholded map meets the mask, by sample and threshold policy",
    Column("evaluation_id", BigInteger, primary_key=True),
    Column("sample_id", BigInteger, primary_key=True),
    *texts("method", "target", "policy", primary_key=True),
    real("threshold", nullable=True),
    *proportion("iou"),
    *proportion("dealt_iou"),
    *proportion("random_iou"),
    text("reason", nullable=True),
    ForeignKeyConstraint(MAP, [f"activation_map.{name}" for name in MAP], ondelete="CASCADE"),
    explained("iou"),
    CheckConstraint("threshold > '-infinity' AND threshold < 'infinity'", name="threshold_finite"),
    Index("ix_localization_method_policy", "evaluation_id", "method", "policy"),
)

occlusion = table(
    "occlusion",
    "Occlusion test: class probabilities with the lesion filled in, and with as much tissue elsewhere filled in",
    reference("evaluation", primary_key=True),
    reference("sample", primary_key=True, index=True),
    text("variant", primary_key=True),
    Column("lesion_probabilities", ARRAY(REAL), nullable=False),
    Column("control_probabilities", ARRAY(REAL)),
    *number(SmallInteger, "places"),
    *proportion("lesion_change", nullable=False),
    *proportion("control_change"),
    text("reason", nullable=True),
    CheckConstraint("variant IN ('smooth', 'texture', 'wide')", name="variant"),
    CheckConstraint(proportions("lesion_probabilities"), name="lesion_range"),
    CheckConstraint(proportions("control_probabilities"), name="control_range"),
    CheckConstraint("places >= 0", name="places"),
    explained("control_probabilities"),
)

mark = table(
    "mark",
    "A lesion is said to lie here, with a score: boxes of a detector, peaks of a map",
    reference("evaluation", primary_key=True),
    reference("sample", primary_key=True, index=True),
    text("method", primary_key=True),
    Column("rank", SmallInteger, primary_key=True),
    *(real(name) for name in ("x", "y", "x0", "y0", "x1", "y1", "score")),
    reference("label", nullable=True, index=True),
    *flags("strongest", "on_lesion"),
    CheckConstraint("rank >= 1 AND x1 >= x0 AND y1 >= y0", name="box"),
    CheckConstraint("score > '-infinity' AND score < 'infinity'", name="score"),
)

swap = table(
    "swap",
    "Swap test: class probabilities of one sample's surroundings with another patient's lesion",
    reference("evaluation", primary_key=True),
    reference("sample", primary_key=True, index=True),
    reference("sample", name="donor_id", primary_key=True, index=True),
    Column("probabilities", ARRAY(REAL), nullable=False),
    CheckConstraint(proportions("probabilities"), name="range"),
)

prototype = table(
    "prototype",
    "A prototype of a case-based model: the training case that it is, and how well it is one",
    reference("evaluation", primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    reference("label", index=True),
    reference("sample", name="source_id", index=True),
    *number(SmallInteger, "row", "col", "rows", "cols"),
    *flags("kept"),
    Column("weights", ARRAY(Double), nullable=False),
    Column("neighbours", ARRAY(BigInteger), nullable=False),
    Column("distances", ARRAY(Double), nullable=False),
    *proportion("purity", nullable=False),
    *proportion("coverage", nullable=False),
    *proportion("share"),
    *scored("value"),
    CheckConstraint('number >= 1 AND "row" >= 0 AND "row" < rows AND col >= 0 AND col < cols', name="places"),
    CheckConstraint("cardinality(neighbours) = cardinality(distances)", name="neighbours"),
)

prototype_match = table(
    "prototype_match",
    "How much a test sample looks like a prototype, and where",
    Column("evaluation_id", BigInteger, primary_key=True),
    reference("sample", primary_key=True, index=True),
    Column("number", SmallInteger, primary_key=True),
    *number(SmallInteger, "row", "col"),
    real("similarity"),
    *proportion("iou"),
    *proportion("energy"),
    *proportion("top5"),
    *flags("hit", nullable=True),
    text("reason", nullable=True),
    ForeignKeyConstraint(
        ("evaluation_id", "number"), ["prototype.evaluation_id", "prototype.number"], ondelete="CASCADE"
    ),
    explained("iou"),
    CheckConstraint("similarity >= 0 AND similarity < 'infinity'", name="similarity"),
)
