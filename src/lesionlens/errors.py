"""What can stop a run: one family of errors, so that a grid can record it and go on."""


class TrainingError(RuntimeError):
    """A run cannot be trained. The message says what was wrong, where, and what to do."""


class DivergedError(TrainingError):
    """A loss became NaN or infinite."""


class WeightsMissingError(TrainingError):
    """Pretrained weights are neither on this machine nor to be had."""


class CheckpointError(TrainingError):
    """A checkpoint is damaged, missing, or belongs to another run."""
