"""What an examined model takes: a network trained elsewhere, or predictions and maps made elsewhere."""

from typing import Literal, Self

from pydantic import Field, model_validator

from lesionlens.config.base import Frozen
from lesionlens.config.evaluation import EvaluationConfig

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class InputSpec(Frozen):
    """The images that a network takes: size x size pixels, grey values scaled to 0 to 1, then normalised."""

    size: int = Field(224, ge=32, le=1024, description="Side of the images in pixels")
    normalise: Literal["imagenet", "none", "per_patch"] | tuple[tuple[float, ...], tuple[float, ...]] = Field(
        "imagenet",
        description="ImageNet's mean and deviation by channel; none: 0 to 1 as they are; each image by its own; or"
        " (means, deviations), one for all channels or one each",
    )
    channels: Literal[1, 3] = Field(3, description="Channels; the grey values are repeated in three")

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and deviations by channel, of images that are scaled to 0 to 1, or normalised by their own."""
        named = {"imagenet": IMAGENET, "none": ((0.0,), (1.0,)), "per_patch": ((0.0,), (1.0,))}
        return named[self.normalise] if isinstance(self.normalise, str) else self.normalise

    @model_validator(mode="after")
    def _fits_the_channels(self) -> Self:
        means, deviations = self.scale
        if not all(len(values) in (1, self.channels) for values in (means, deviations)) or min(deviations) <= 0:
            raise ValueError(
                f"input.normalise gives {len(means)} means and {len(deviations)} deviations for {self.channels} "
                "channels: name one for all or one for each, deviations above 0"
            )
        return self


class GivenMaps(EvaluationConfig):
    """Maps that were made elsewhere, by whatever method."""

    methods: tuple[Literal["given"], ...] = ("given",)  # type: ignore[assignment]
