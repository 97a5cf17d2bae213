"""What stands for a patch in a training step: stored features, or pixels through the frozen half."""

import torch
from torch import Tensor

from lesionlens.config import TrainingConfig
from lesionlens.models.backbones import Classifier, Level
from lesionlens.training.epochs import Source
from lesionlens.training.feature_cache import BUILD_BATCH, whole_batches
from lesionlens.training.inputs import Inputs


def stored(features: Tensor, device: torch.device) -> Source:
    """Rows of stored features, float32 on the device; on a GPU all of them stay there if half its memory allows."""
    if device.type == "cuda" and features.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        features = features.to(device)
    # Whole rows as they lie in memory, which is faster than picking them in another order of axes. What is one pixel
    # large lies in both ways and keeps the default's strides, by which a convolution chooses its arithmetic.
    last = (
        features.dim() == 4
        and not features.is_contiguous()
        and features.is_contiguous(memory_format=torch.channels_last)
    )
    lying = features.permute(0, 2, 3, 1) if last else features

    def source(rows: Tensor) -> Tensor:
        found = lying.index_select(0, rows.to(lying.device)).to(device, torch.float32)
        return found.permute(0, 3, 1, 2) if last else found

    return source


def computed(model: Classifier, level: Level, inputs: Inputs, training: TrainingConfig) -> Source:
    """The frozen half computed anew for every batch.

    Exact: always in batches of the size in which the cache is built. Not with the batch normalisation of the frozen
    half in training mode, where a patch's features depend on its batch.
    """

    @torch.no_grad()
    def source(rows: Tensor) -> Tensor:
        if not training.exact or training.frozen_bn == "train":
            return model.to_level(level, inputs(rows))
        filled = torch.tensor(whole_batches(rows.tolist()))
        parts = [model.to_level(level, inputs(batch)) for batch in torch.split(filled, BUILD_BATCH)]
        return torch.cat(parts)[: len(rows)]

    return source


def augmented(model: Classifier, level: Level, inputs: Inputs) -> Source:
    """The same of patches flipped and turned at random, by torch's global generator."""

    @torch.no_grad()
    def source(rows: Tensor) -> Tensor:
        return model.to_level(level, flipped_and_turned(inputs(rows)))

    return source


def flipped_and_turned(pixels: Tensor) -> Tensor:
    """Every patch of [n, c, s, s] in one of its eight flips and quarter turns, each equally likely."""
    drawn = torch.randint(8, (len(pixels),)).tolist()
    turned = [
        torch.rot90(patch.flip(2) if way >= 4 else patch, way % 4, (1, 2))
        for patch, way in zip(pixels, drawn, strict=True)
    ]
    return torch.stack(turned)
