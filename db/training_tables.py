"""Tables of the train stage: studies, runs, epochs, checkpoints."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
)

from db.metadata import document, identity, metadata, moment, reference, text

study = Table(
    "study",
    metadata,
    identity("Number of the study"),
    text("digest", "Identity by content: configuration and sample set", unique=True),
    text("name", "Name as shown in reports"),
    document("config", "The whole StudyConfig"),
    text("evaluation_digest", "Identity of the evaluation options: which evaluations belong to this study"),
    reference("sample_set", "Patches the study works on", index=True),
    document("versions", "Library versions, Python and machine that planned it"),
    moment("created_at", "When it was first planned"),
    comment="A configuration asked of a sample set",
)

run = Table(
    "run",
    metadata,
    identity("Number of the run; ascending in the order of the grid"),
    text("digest", "Identity by content: run, training options and sample set", unique=True),
    reference("sample_set", "Patches it is trained on", index=True),
    text("backbone", "Network, for example resnet50"),
    text("strategy", "Unfreezing: gradual or simultaneous"),
    Column("batch_size", Integer, nullable=False, comment="Patches per step"),
    Column("head_rate", Double, nullable=False, comment="Learning rate of the linear layer"),
    Column("unit1_rate", Double, nullable=False, comment="Learning rate of the last convolutional unit"),
    Column("seed", BigInteger, nullable=False, comment="Seed of initial head and batch order"),
    text("normalise", "Input statistics; per_class needs the label and leaks it"),
    text("weights", "Where the stem's weights come from: imagenet or none"),
    document("config", "RunConfig under run and TrainingConfig under training"),
    text("status", "pending, running, finished or failed", server_default="pending"),
    text("reason", "Why it failed; NULL otherwise", nullable=True),
    text("device", "Where it was last trained", nullable=True),
    moment("created_at", "When it was planned"),
    moment("started_at", "When training last began or was resumed", nullable=True),
    moment("finished_at", "When it finished or failed", nullable=True),
    CheckConstraint("status IN ('pending', 'running', 'finished', 'failed')", name="status"),
    CheckConstraint("(status = 'failed') = (reason IS NOT NULL)", name="reason"),
    CheckConstraint("(status IN ('finished', 'failed')) = (finished_at IS NOT NULL)", name="finished_at"),
    CheckConstraint(
        "batch_size > 0 AND head_rate > 0 AND unit1_rate > 0 AND greatest(head_rate, unit1_rate) < 'infinity'",
        name="rates",
    ),
    Index(None, "backbone", "strategy"),
    comment="One training: a backbone, a strategy, a hyper-parameter set, a seed",
)

study_run = Table(
    "study_run",
    metadata,
    reference("study", "Study whose grid holds the run"),
    reference("run", "Run; may serve several studies", index=True),
    PrimaryKeyConstraint("study_id", "run_id"),
    comment="Which runs belong to which study",
)

epoch = Table(
    "epoch",
    metadata,
    reference("run", "Run that was trained"),
    Column("epoch", Integer, nullable=False, comment="Counted from 1 through all phases"),
    Column("phase", SmallInteger, nullable=False, comment="Phase of the strategy, from 1"),
    Column("train_loss", Double, nullable=False, comment="Mean cross-entropy over the training split"),
    Column("validation_loss", Double, nullable=False, comment="Mean cross-entropy over the validation split"),
    Column("validation_accuracy", Double, nullable=False, comment="Share of the validation split classified correctly"),
    Column("seconds", Double, nullable=False, comment="Wall time of the epoch"),
    document("rates", "Learning rate by unit name"),
    Column("improved", Boolean, nullable=False, comment="Whether validation loss fell enough to count"),
    PrimaryKeyConstraint("run_id", "epoch"),
    CheckConstraint("epoch >= 1 AND phase >= 1 AND seconds >= 0 AND seconds < 'infinity'", name="counts"),
    CheckConstraint("train_loss >= 0 AND train_loss < 'infinity'", name="train_loss"),
    CheckConstraint("validation_loss >= 0 AND validation_loss < 'infinity'", name="validation_loss"),
    CheckConstraint("validation_accuracy BETWEEN 0 AND 1", name="validation_accuracy"),
    comment="One pass over the training split",
)

checkpoint = Table(
    "checkpoint",
    metadata,
    reference("run", "Run whose weights it holds"),
    text("role", "best: lowest validation loss; last: where training resumes"),
    Column("phase", SmallInteger, nullable=False, comment="Phase after which it was written"),
    Column("epoch", Integer, nullable=False, comment="Epoch after which it was written"),
    text("path", "File, relative to the checkpoint folder"),
    text("sha256", "Digest of the file"),
    Column("bytes", BigInteger, nullable=False, comment="Size of the file"),
    PrimaryKeyConstraint("run_id", "role"),
    CheckConstraint("role IN ('best', 'last')", name="role"),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    CheckConstraint("bytes >= 0 AND epoch >= 0 AND phase >= 0", name="counts"),
    comment="Weights on disk beside the record",
)
