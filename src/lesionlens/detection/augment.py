"""Films shown in other ways from epoch to epoch, their boxes moved along."""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

LEAST = 2.0
"""Sides of a box in pixels below which nothing of the lesion is left on the film."""

_MOVED = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        # without rotation, which would make every box larger than its lesion
        v2.RandomAffine(degrees=0, translate=(0.05, 0.05), scale=(0.85, 1.15)),
        v2.ClampBoundingBoxes(),
        v2.SanitizeBoundingBoxes(min_size=LEAST),
    ]
)


def moved(pixels: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A film flipped, shifted by up to 5 % and scaled by up to 15 %, and its boxes with it.

    pixels float32 [c, h, w]; boxes float32 [k, 4]; labels int64 [k]. What comes in from outside is as dark as the
    film's darkest pixel; boxes end at its border, and a lesion that left the film is left out. Drawn by torch's global
    generator.
    """
    darkest = pixels.amin()
    height, width = pixels.shape[-2:]
    sample = {
        "film": tv_tensors.Image(pixels - darkest),
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
        "labels": labels,
    }
    found = _MOVED(sample)
    return (
        found["film"].as_subclass(torch.Tensor) + darkest,
        found["boxes"].as_subclass(torch.Tensor),
        found["labels"],
    )
