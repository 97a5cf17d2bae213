"""What can stop a run, in training or evaluation: errors that a grid records, and goes on."""


class TrainingError(RuntimeError):
    """A run cannot be trained. The message says what was wrong, where, and what to do."""


class DivergedError(TrainingError):
    """A loss became NaN or infinite."""


class WeightsMissingError(TrainingError):
    """Pretrained weights are neither on this machine nor to be had."""


class EvaluationError(RuntimeError):
    """A trained run cannot be evaluated. The message says what was wrong, where, and what to do."""


class CheckpointError(TrainingError):
    """A checkpoint is damaged, missing, or belongs to another run."""


def one_line(text: str) -> str:
    """A message with what names may hold and a line may not, control and invisible characters, as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
