"""Studies and runs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Number of the run; ascending in the order of the grid",
        ),
        sa.Column(
            "digest", sa.Text(), nullable=False, comment="Identity by content: run, training options and sample set"
        ),
        sa.Column("sample_set_id", sa.BigInteger(), nullable=False, comment="Patches it is trained on"),
        sa.Column("backbone", sa.Text(), nullable=False, comment="Network, for example resnet50"),
        sa.Column("strategy", sa.Text(), nullable=False, comment="Unfreezing: gradual or simultaneous"),
        sa.Column("batch_size", sa.Integer(), nullable=False, comment="Patches per step"),
        sa.Column("head_rate", sa.Double(), nullable=False, comment="Learning rate of the linear layer"),
        sa.Column("unit1_rate", sa.Double(), nullable=False, comment="Learning rate of the last convolutional unit"),
        sa.Column("seed", sa.BigInteger(), nullable=False, comment="Seed of initial head and batch order"),
        sa.Column(
            "normalise", sa.Text(), nullable=False, comment="Input statistics; per_class needs the label and leaks it"
        ),
        sa.Column("weights", sa.Text(), nullable=False, comment="Where the stem's weights come from: imagenet or none"),
        sa.Column(
            "config",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="RunConfig under run and TrainingConfig under training",
        ),
        sa.Column(
            "status",
            sa.Text(),
            server_default="pending",
            nullable=False,
            comment="pending, running, finished or failed",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it failed; NULL otherwise"),
        sa.Column("device", sa.Text(), nullable=True, comment="Where it was last trained"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was planned",
        ),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), nullable=True, comment="When training last began or was resumed"
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True, comment="When it finished or failed"),
        sa.CheckConstraint("(status = 'failed') = (reason IS NOT NULL)", name=op.f("ck_run_reason")),
        sa.CheckConstraint(
            "(status IN ('finished', 'failed')) = (finished_at IS NOT NULL)", name=op.f("ck_run_finished_at")
        ),
        sa.CheckConstraint("status IN ('pending', 'running', 'finished', 'failed')", name=op.f("ck_run_status")),
        sa.CheckConstraint("batch_size > 0 AND head_rate > 0 AND unit1_rate > 0", name=op.f("ck_run_rates")),
        sa.ForeignKeyConstraint(
            ["sample_set_id"], ["sample_set.id"], name=op.f("fk_run_sample_set_id_sample_set"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("digest", name=op.f("uq_run_digest")),
        comment="One training: a backbone, a strategy, a hyper-parameter set, a seed",
    )
    op.create_index(op.f("ix_run_backbone_strategy"), "run", ["backbone", "strategy"], unique=False)
    op.create_index(op.f("ix_run_sample_set_id"), "run", ["sample_set_id"], unique=False)
    op.create_table(
        "study",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="Number of the study"),
        sa.Column("digest", sa.Text(), nullable=False, comment="Identity by content: configuration and sample set"),
        sa.Column("name", sa.Text(), nullable=False, comment="Name as shown in reports"),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="The whole StudyConfig"),
        sa.Column(
            "evaluation_digest",
            sa.Text(),
            nullable=False,
            comment="Identity of the evaluation options: which evaluations belong to this study",
        ),
        sa.Column("sample_set_id", sa.BigInteger(), nullable=False, comment="Patches the study works on"),
        sa.Column(
            "versions",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Library versions, Python and machine that planned it",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was first planned",
        ),
        sa.ForeignKeyConstraint(
            ["sample_set_id"], ["sample_set.id"], name=op.f("fk_study_sample_set_id_sample_set"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("digest", name=op.f("uq_study_digest")),
        comment="A configuration asked of a sample set",
    )
    op.create_index(op.f("ix_study_sample_set_id"), "study", ["sample_set_id"], unique=False)
    op.create_table(
        "checkpoint",
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="Run whose weights it holds"),
        sa.Column(
            "role", sa.Text(), nullable=False, comment="best: lowest validation loss; last: where training resumes"
        ),
        sa.Column("phase", sa.SmallInteger(), nullable=False, comment="Phase after which it was written"),
        sa.Column("epoch", sa.Integer(), nullable=False, comment="Epoch after which it was written"),
        sa.Column("path", sa.Text(), nullable=False, comment="File, relative to the checkpoint folder"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="Digest of the file"),
        sa.Column("bytes", sa.BigInteger(), nullable=False, comment="Size of the file"),
        sa.CheckConstraint("role IN ('best', 'last')", name=op.f("ck_checkpoint_role")),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_checkpoint_sha256")),
        sa.CheckConstraint("bytes >= 0 AND epoch >= 0 AND phase >= 0", name=op.f("ck_checkpoint_counts")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_checkpoint_run_id_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "role", name=op.f("pk_checkpoint")),
        comment="Weights on disk beside the record",
    )
    op.create_table(
        "epoch",
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="Run that was trained"),
        sa.Column("epoch", sa.Integer(), nullable=False, comment="Counted from 1 through all phases"),
        sa.Column("phase", sa.SmallInteger(), nullable=False, comment="Phase of the strategy, from 1"),
        sa.Column("train_loss", sa.Double(), nullable=False, comment="Mean cross-entropy over the training split"),
        sa.Column(
            "validation_loss", sa.Double(), nullable=False, comment="Mean cross-entropy over the validation split"
        ),
        sa.Column(
            "validation_accuracy",
            sa.Double(),
            nullable=False,
            comment="Share of the validation split classified correctly",
        ),
        sa.Column("seconds", sa.Double(), nullable=False, comment="Wall time of the epoch"),
        sa.Column(
            "rates", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="Learning rate by unit name"
        ),
        sa.Column("improved", sa.Boolean(), nullable=False, comment="Whether validation loss fell enough to count"),
        sa.CheckConstraint("train_loss >= 0 AND train_loss < 'infinity'", name=op.f("ck_epoch_train_loss")),
        sa.CheckConstraint(
            "validation_loss >= 0 AND validation_loss < 'infinity'", name=op.f("ck_epoch_validation_loss")
        ),
        sa.CheckConstraint("epoch >= 1 AND phase >= 1 AND seconds >= 0", name=op.f("ck_epoch_counts")),
        sa.CheckConstraint("validation_accuracy BETWEEN 0 AND 1", name=op.f("ck_epoch_validation_accuracy")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_epoch_run_id_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "epoch", name=op.f("pk_epoch")),
        comment="One pass over the training split",
    )
    op.create_table(
        "study_run",
        sa.Column("study_id", sa.BigInteger(), nullable=False, comment="Study whose grid holds the run"),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="Run; may serve several studies"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_study_run_run_id_run"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_study_run_study_id_study"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "run_id", name=op.f("pk_study_run")),
        comment="Which runs belong to which study",
    )
    op.create_index(op.f("ix_study_run_run_id"), "study_run", ["run_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_study_run_run_id"), table_name="study_run")
    op.drop_table("study_run")
    op.drop_table("epoch")
    op.drop_table("checkpoint")
    op.drop_index(op.f("ix_study_sample_set_id"), table_name="study")
    op.drop_table("study")
    op.drop_index(op.f("ix_run_sample_set_id"), table_name="run")
    op.drop_index(op.f("ix_run_backbone_strategy"), table_name="run")
    op.drop_table("run")
