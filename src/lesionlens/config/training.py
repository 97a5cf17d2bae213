"""Runs: the grid of backbones, strategies, hyper-parameter sets and seeds, and how each is trained."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from lesionlens.config.base import Frozen

Backbone = Literal["vgg16", "vgg19", "resnet34", "resnet50", "resnet18", "vgg11_bn", "efficientnet_b0"]
Strategy = Literal["gradual", "simultaneous"]
Normalise = Literal["per_class", "train", "imagenet", "per_patch"]
RateRule = Literal["published", "author"]


class StoppingConfig(Frozen):
    """Early stopping of a training phase on validation loss."""

    patience: int = Field(7, ge=1, description="Epochs without a sufficient improvement before a phase ends")
    min_delta: float = Field(0.01, ge=0, description="Least decrease of validation loss that counts as improvement")
    max_epochs: int = Field(100, ge=1, description="Upper bound for the epochs of one phase")
    start: Literal["anew", "loaded"] = Field(
        "anew",
        description="What a later phase must improve on: anew, its own first epoch (the study); loaded, the weights"
        " that it starts from, so that no phase ends worse than it began",
    )


class TrainingConfig(Frozen):
    """How every run of a study is trained."""

    weights: str = Field(
        "imagenet",
        description="Pretrained weights: imagenet; the path of an own file, safetensors or a state dict, in the names"
        " of torchvision, timm or Keras, recorded with @ and its SHA-256; or none: random, batch normalisation"
        " calibrated on training samples",
    )
    normalise: Normalise = Field("train", description="Input statistics; per_class needs the label and leaks it")
    stopping: StoppingConfig = Field(default_factory=StoppingConfig)
    rates: RateRule = Field(
        "published",
        description="How learning rates fall towards the input. published: VGG divides that of unit1 by 1, 2, 3..."
        " from convolution to convolution, ResNet by 10 in unit2; author: VGG divides half of the head's instead",
    )
    augment: bool = Field(
        False, description="Random flips and quarter turns, not part of the study; no features are cached then"
    )

    @field_validator("weights")
    @classmethod
    def _names_or_a_file(cls, weights: str) -> str:
        if weights in ("imagenet", "none"):
            return weights
        if "/" not in weights:
            raise ValueError(f"{weights!r} is neither imagenet nor none; the path of a file is written ./{weights}")
        return str(Path(weights).expanduser().absolute())


class HyperSet(Frozen):
    """One hyper-parameter set of the grid."""

    batch_size: int = Field(16, ge=1, le=512, description="Samples per optimisation step")
    head_rate: float = Field(1e-4, gt=0, le=1, description="Learning rate of the linear layer")
    unit1_rate: float = Field(3e-5, gt=0, le=1, description="Learning rate of block unit1, the last convolutions")


class RunConfig(HyperSet):
    """One training run: a cell of the grid, one set, one seed."""

    backbone: Backbone
    strategy: Strategy
    seed: int = Field(0, ge=0)

    @property
    def title(self) -> str:
        return f"{self.backbone} {self.strategy} batch {self.batch_size} rate {self.unit1_rate:g} seed {self.seed}"


PAPER_SETS = tuple(HyperSet(batch_size=b, unit1_rate=r) for b in (8, 16, 32) for r in (3e-5, 3e-4))


class GridConfig(Frozen):
    """Every backbone with every strategy, set and seed."""

    backbones: tuple[Backbone, ...] = Field(
        ("vgg16", "vgg19", "resnet34", "resnet50"), min_length=1, description="Networks to train"
    )
    strategies: tuple[Strategy, ...] = Field(
        ("gradual", "simultaneous"),
        min_length=1,
        description="gradual: the head, then unit1, then unit2 join in; simultaneous: all three from the start",
    )
    sets: tuple[HyperSet, ...] = Field(PAPER_SETS, min_length=1, description="Hyper-parameter sets, numbered from 1")
    seeds: tuple[int, ...] = Field(
        (0,), min_length=1, description="Each repeats the grid with its own weights and order of samples"
    )

    def runs(self) -> tuple[RunConfig, ...]:
        """The grid, expanded; order: backbone, strategy, set, seed."""
        return tuple(
            RunConfig(backbone=b, strategy=s, seed=seed, **hyper.model_dump())
            for b in self.backbones
            for s in self.strategies
            for hyper in self.sets
            for seed in self.seeds
        )

    def title(self, run: RunConfig) -> str:
        """A run in this grid, for people: backbone, strategy, number of its set from 1, seed."""
        hyper = HyperSet(**run.model_dump(include=set(HyperSet.model_fields)))
        return f"{run.backbone} {run.strategy} #{self.sets.index(hyper) + 1} seed {run.seed}"

    @model_validator(mode="after")
    def _no_run_twice(self) -> Self:
        if len(set(self.runs())) != len(self.runs()):
            raise ValueError("grid: the same run appears twice; remove the repeated backbone, strategy, set or seed")
        return self
