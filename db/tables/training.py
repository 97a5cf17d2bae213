"""Tables of the train step: studies, runs, epochs, checkpoints."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, SmallInteger

from db.tables.columns import document, flags, identity, moment, number, proportion, real, reference, table, text, texts

study = table(
    "study",
    "A configuration asked of a sample set",
    identity(),
    text("digest", unique=True),
    text("name"),
    text("kind", server_default="trained"),
    document("config"),
    text("evaluation_digest"),
    reference("sample_set", index=True),
    document("versions"),
    moment("created_at"),
    CheckConstraint("kind IN ('trained', 'examined')", name="kind"),
)

run = table(
    "run",
    "One model: a training of a backbone by a strategy, a hyper-parameter set, a seed; or one examined as it was given",
    identity(),
    text("digest", unique=True),
    reference("sample_set", index=True),
    *texts("system", "backbone", "strategy"),
    *number(Integer, "batch_size", nullable=True),
    real("head_rate", nullable=True),
    real("unit1_rate", nullable=True),
    text("guidance"),
    *number(BigInteger, "seed"),
    *texts("normalise", "weights"),
    document("config"),
    text("status", server_default="pending"),
    *texts("reason", "device", nullable=True),
    moment("created_at"),
    moment("started_at", nullable=True),
    moment("finished_at", nullable=True),
    CheckConstraint("system IN ('classifier', 'prototype', 'detector')", name="system"),
    CheckConstraint("status IN ('pending', 'running', 'finished', 'failed')", name="status"),
    CheckConstraint(
        "num_nulls(batch_size, head_rate, unit1_rate) = CASE strategy WHEN 'examined' THEN 3 ELSE 0 END", name="trained"
    ),
    CheckConstraint("(status = 'failed') = (reason IS NOT NULL)", name="reason"),
    CheckConstraint("(status IN ('finished', 'failed')) = (finished_at IS NOT NULL)", name="finished_at"),
    CheckConstraint(
        "batch_size > 0 AND head_rate > 0 AND unit1_rate > 0 AND greatest(head_rate, unit1_rate) < 'infinity'",
        name="rates",
    ),
    Index(None, "backbone", "strategy"),
)

study_run = table(
    "study_run",
    "Which runs belong to which study, under which title",
    reference("study", primary_key=True),
    reference("run", primary_key=True, index=True),
    text("title"),
)

epoch = table(
    "epoch",
    "One pass over the training split",
    reference("run", primary_key=True),
    Column("epoch", Integer, primary_key=True),
    *number(SmallInteger, "phase"),
    real("train_loss"),
    real("validation_loss"),
    *proportion("validation_accuracy"),
    *proportion("validation_froc"),
    real("seconds"),
    document("rates"),
    *flags("improved"),
    CheckConstraint("num_nulls(validation_accuracy, validation_froc) = 1", name="validated"),
    CheckConstraint("epoch >= 1 AND phase >= 1 AND seconds >= 0 AND seconds < 'infinity'", name="counts"),
    CheckConstraint("train_loss > '-infinity' AND train_loss < 'infinity'", name="train_loss"),
    CheckConstraint("validation_loss >= 0 AND validation_loss < 'infinity'", name="validation_loss"),
)

checkpoint = table(
    "checkpoint",
    "Weights on disk beside the record",
    reference("run", primary_key=True),
    text("role", primary_key=True),
    *number(SmallInteger, "phase"),
    *number(Integer, "epoch"),
    *texts("path", "sha256"),
    *number(BigInteger, "bytes"),
    CheckConstraint("role IN ('best', 'last')", name="role"),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    CheckConstraint("bytes >= 0 AND epoch >= 0 AND phase >= 0", name="counts"),
)
