"""A trained network, back from its checkpoint."""

from collections.abc import Sequence

from lesionlens.config import RunConfig, TrainingConfig
from lesionlens.errors import CheckpointError
from lesionlens.models.backbones import Classifier, build
from lesionlens.records import Checkpoint
from lesionlens.training.checkpoints import configuration_of, read_checkpoint
from lesionlens.training.store import Folder


def load_model(
    run: RunConfig, training: TrainingConfig, classes: Sequence[str], folder: Folder, checkpoint: Checkpoint
) -> Classifier:
    """The run's network as the checkpoint in `folder` holds it, on the CPU, in evaluation mode.

    Raises CheckpointError if the file is missing, is not what the record says, or belongs to another run.
    """
    saved = read_checkpoint(folder, checkpoint)
    if saved.configuration != configuration_of(run, training, classes):
        raise CheckpointError(f"checkpoint {checkpoint.path} in {folder} was not made by run {run.title}")
    model = build(run.backbone, len(classes), run.seed)
    model.load_state_dict(saved.model)
    return model.eval()
