"""Runs: the grid of backbones, strategies, hyper-parameter sets and seeds, and how each is trained."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from lesionlens.config.base import Frozen

Backbone = Literal["vgg16", "vgg19", "resnet34", "resnet50", "resnet18", "vgg11_bn", "efficientnet_b0"]
Strategy = Literal["gradual", "simultaneous", "last_block", "two_step"]
Top = Literal["none", "residual", "vgg", "mbconv", "two_views"]
Normalise = Literal["per_class", "train", "imagenet", "per_patch"]
RateRule = Literal["published", "author"]
Augment = Literal["none", "flips", "patch", "surroundings", "mammogram"]
System = Literal["classifier", "prototype", "detector"]
Shown = Literal["lesion", "margin", "none"]
Precision = Literal["auto", "float32", "bfloat16"]
DetectorNetwork = Literal["fcos", "retinanet"]
Schedule = Literal["constant", "cosine"]


class StoppingConfig(Frozen):
    """How long a training phase lasts, and which weights it ends with."""

    patience: int = Field(7, ge=1, description="Epochs without a sufficient improvement before a phase ends")
    min_delta: float = Field(0.01, ge=0, description="Least improvement that counts")
    max_epochs: int = Field(100, ge=1, description="Upper bound for the epochs of one phase")
    monitor: Literal["loss", "auc"] = Field(
        "loss", description="What improves and chooses the checkpoint: validation loss (the study), or validation AUC"
    )
    keep: Literal["lowest", "averaged"] = Field(
        "lowest",
        description="The weights that a phase ends with: those of the best epoch (the study), or, without early"
        " stopping, after `max_epochs` their exponential average, in which every step counts 1 %",
    )
    start: Literal["anew", "loaded"] = Field(
        "anew",
        description="What a later phase must improve on: anew, its own first epoch (the study); loaded, the weights"
        " that it starts from, so that no phase ends worse than it began",
    )


class DetectorConfig(Frozen):
    """A detector on a backbone."""

    network: DetectorNetwork = Field("fcos", description="fcos, without anchors, or retinanet")
    channels: int = Field(
        256, ge=32, le=1024, multiple_of=32, description="Width of the feature pyramid and of the layers behind it"
    )
    one_class: bool = Field(False, description="Lesions are found as such, benign or malignant alike")


class PrototypeConfig(Frozen):
    """A case-based model: its prototypes, its schedule and the weights of its losses."""

    per_class: int = Field(5, ge=1, le=50, description="Prototypes of every class")
    channels: int = Field(128, ge=2, le=2048, description="Length of a prototype")
    topk: float = Field(
        0.046, gt=0, le=1, description="Proportion of places whose similarity is averaged; 1: the nearest place alone"
    )
    warm: int = Field(10, ge=0, le=1000, description="Epochs of the prototypes alone, at first")
    push_every: int = Field(10, ge=1, le=1000, description="Epochs of prototypes and unit1 together before a push")
    last: int = Field(10, ge=1, le=1000, description="Epochs of the last layer alone after a push, and after pruning")
    rounds: int = Field(3, ge=1, le=100, description="How often that is done, each time at a tenth of the rates")
    cluster: float = Field(0.8, ge=0, le=100, description="Weight of the distance to the nearest own prototype")
    separation: float = Field(0.08, ge=0, le=100, description="Weight of that to the nearest of another class")
    fine: float = Field(
        0.085,
        ge=0,
        le=100,
        description="Weight of similarity off the annotation, at 224 px; 0: none; 0.085: published, for thousands of"
        " steps, since it outweighs the cross-entropy some 30 times at first; 0.003: about as much as that",
    )
    annotation: Shown = Field(
        "lesion", description="What `fine` is shown: the lesion, a band around its outline (geometry), or none"
    )
    prune: tuple[int, int] = Field(
        (6, 3), description="Of so many nearest training samples so many must be of a prototype's class, or it goes"
    )

    @property
    def epochs(self) -> int:
        """Epochs of a whole run."""
        return self.warm + self.rounds * (self.push_every + self.last) + self.last

    @model_validator(mode="after")
    def _prune_some_of_all(self) -> Self:
        if not 0 <= self.prune[1] <= self.prune[0] <= 100 or self.prune[0] < 1:
            raise ValueError("training.prototypes.prune is how many neighbours are asked, and how many of them suffice")
        return self


class TrainingConfig(Frozen):
    """How every run of a study is trained."""

    weights: str = Field(
        "imagenet",
        description="Pretrained weights: imagenet; the path of an own file, safetensors or a state dict, in the names"
        " of torchvision, timm or Keras, recorded with @ and its SHA-256; or none: random, batch normalisation"
        " calibrated on training samples",
    )
    start: str | None = Field(
        None,
        min_length=1,
        description="Study of the record, by name, number or digest, whose run of the same backbone gives stem, unit2"
        " and unit1 their first weights: of the same seed, else its selected one; null: begin with `weights`",
    )
    top: Top = Field(
        "none",
        description="What of a film's network follows unit1, with first weights drawn: residual, two stages of two"
        " bottlenecks 512-512-1024; vgg, two of a convolution of 512; mbconv, two MBConv blocks; two_views, the same"
        " over the maps of both views of a breast, side by side; or none",
    )
    head: Literal["drawn", "centred"] = Field(
        "centred",
        description="The linear layer's first weights: drawn (the study), or centred: less their mean over the classes,"
        " which no prediction needs, softmax never trains, and every map of a class's logit shows",
    )
    normalise: Normalise = Field("train", description="Input statistics; per_class needs the label and leaks it")
    stopping: StoppingConfig = Field(default_factory=StoppingConfig)
    rates: RateRule = Field(
        "published",
        description="How learning rates fall towards the input. published: VGG divides that of unit1 by 1, 2, 3..."
        " from convolution to convolution, ResNet by 10 in unit2; author: VGG divides half of the head's instead",
    )
    prototypes: PrototypeConfig = Field(default_factory=PrototypeConfig)
    augment: Augment = Field(
        "none",
        description="none (the study); flips: flips and quarter turns; patch: these with rotation to 15 degrees, zoom"
        " 0.85 to 1.15, shift to 5 %, contrast +-20 % and brightness +-0.3 sd, in 16 stored variants of a sample;"
        " surroundings: half of the time lesions lie in another training patient's tissue, labelled by the lesion;"
        " mammogram, for films: flips, rotation to 25 degrees, shear to 12, zoom 0.8 to 1.2, brightness +-20 of 255",
    )
    precision: Precision = Field(
        "float32",
        description="Arithmetic of convolutions in training on a CPU; auto: bfloat16 where a step, measured before"
        " training, takes at most 0.9 of the time, and recorded as that. A GPU always takes bfloat16",
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, description="What a step takes off each trained weight, in learning rates (AdamW); 0: none"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Proportion of pooled features that a training step hides from the head"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Proportion of a training label that is spread evenly over all classes"
    )
    schedule: Schedule = Field(
        "constant",
        description="Learning rates from epoch to epoch: constant (the study); cosine: rising over the first tenth of"
        " `max_epochs` of a phase, then falling along a cosine towards 0 at their end",
    )
    balance: Literal["none", "class_weights"] = Field(
        "none", description="class_weights: a training sample counts by one over the frequency of its class"
    )

    detector: DetectorConfig = Field(default_factory=DetectorConfig, description="Used where the system is detector")

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


class GuidanceConfig(Frozen):
    """Training that is shown where the lesion lies."""

    weight: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight of the proportion of evidence off the annotation in the loss; 0: unguided",
    )
    fraction: float = Field(
        1.0, gt=0, le=1, description="Proportion of annotated samples whose annotation is shown, drawn by the seed"
    )
    dilation: float = Field(
        0.0, ge=0, le=0.25, description="How far an annotation is grown before it is shown, in sides of the sample"
    )

    @property
    def title(self) -> str:
        """`none`, or `weight 3, fraction 0.1, dilation 0.05`, of which what is not the default is named."""
        if not self.weight:
            return "none"
        rest = [f"fraction {self.fraction:g}"] if self.fraction < 1 else []
        rest += [f"dilation {self.dilation:g}"] if self.dilation else []
        return ", ".join([f"weight {self.weight:g}", *rest])


class RunConfig(HyperSet):
    """One training run: a cell of the grid, one set, one seed."""

    backbone: Backbone
    strategy: Strategy
    system: System = "classifier"
    guidance: GuidanceConfig = Field(default_factory=GuidanceConfig)
    seed: int = Field(0, ge=0)

    @property
    def title(self) -> str:
        guided = f" guidance {self.guidance.title}" if self.guidance.weight else ""
        size = f"batch {self.batch_size} rate {self.unit1_rate:g}"
        return f"{self.backbone} {self.strategy} {size}{guided} seed {self.seed}"


PAPER_SETS = tuple(HyperSet(batch_size=b, unit1_rate=r) for b in (8, 16, 32) for r in (3e-5, 3e-4))


class GridConfig(Frozen):
    """Every backbone with every strategy, set and seed."""

    system: System = Field(
        "classifier",
        description="What kind of model is trained: classifier, a linear layer; prototype, likeness to training"
        " cases; detector, boxes on films",
    )

    backbones: tuple[Backbone, ...] = Field(
        ("vgg16", "vgg19", "resnet34", "resnet50"), min_length=1, description="Networks to train"
    )
    strategies: tuple[Strategy, ...] = Field(
        ("gradual", "simultaneous"),
        min_length=1,
        description="gradual: the head, then unit1, then unit2 join in; simultaneous: all three from the start;"
        " last_block: head, top and unit1 from the start, and nothing else, so that features below are stored;"
        " two_step: top and head at head_rate, then every layer at unit1_rate",
    )
    sets: tuple[HyperSet, ...] = Field(PAPER_SETS, min_length=1, description="Hyper-parameter sets, numbered from 1")
    guidance: tuple[GuidanceConfig, ...] = Field(
        (GuidanceConfig(),),
        min_length=1,
        description="Guidance by annotations: each repeats the grid, weight 0 without any",
    )
    seeds: tuple[int, ...] = Field(
        (0,), min_length=1, description="Each repeats the grid with its own weights and order of samples"
    )

    def runs(self) -> tuple[RunConfig, ...]:
        """The grid, expanded; order: backbone, strategy, set, seed, guidance."""
        return tuple(
            RunConfig(backbone=b, strategy=s, system=self.system, guidance=guidance, seed=seed, **hyper.model_dump())
            for b in self.backbones
            for s in self.strategies
            for hyper in self.sets
            for seed in self.seeds
            for guidance in self.guidance
        )

    def title(self, run: RunConfig) -> str:
        """A run in this grid, for people: backbone, strategy, number of its set from 1, guidance, seed."""
        hyper = HyperSet(**run.model_dump(include=set(HyperSet.model_fields)))
        guided = f" guidance {run.guidance.title}" if run.guidance.weight else ""
        return f"{run.backbone} {run.strategy} #{self.sets.index(hyper) + 1}{guided} seed {run.seed}"

    @model_validator(mode="after")
    def _no_run_twice(self) -> Self:
        if len(set(self.runs())) != len(self.runs()):
            raise ValueError(
                "grid: the same run appears twice; remove the repeated backbone, strategy, set, guidance or seed"
            )
        return self
