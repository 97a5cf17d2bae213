"""The networks' first weights, on this machine before the first run of a grid."""

from lesionlens.config import StudyConfig
from lesionlens.models.weights import fetch_imagenet
from tasks.recorded import recorded


@recorded("find first weights")
def find_weights(config: StudyConfig) -> None:
    """Have the ImageNet files of all backbones of the grid, downloaded where needed; nothing for random weights.

    Raises WeightsMissingError, which names every missing file.
    """
    if config.training.weights == "imagenet":
        fetch_imagenet(config.grid.backbones)
