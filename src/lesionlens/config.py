"""The study configuration: every choice of the protocol is a named option.

Frozen pydantic models; an unknown field is an error. This is what the Prefect form shows. How fast and where a study
runs changes no number and is not here: lesionlens.settings.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)

Backbone = Literal["vgg16", "vgg19", "resnet34", "resnet50", "resnet18", "vgg11_bn", "efficientnet_b0"]
Strategy = Literal["gradual", "simultaneous"]
Normalise = Literal["per_class", "train", "imagenet", "per_patch"]
RateRule = Literal["published", "author"]
Source = Literal["auto", "cbis_kaggle", "cbis_dicom", "manifest", "coco", "phantom"]
Policy = Literal["fixed", "otsu", "validation", "area"]
Explains = Literal["logit", "contrast"]
Method = Literal[
    "grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "eigen_cam", "score_cam", "ablation_cam", "saliency",
    "smooth_grad", "integrated_gradients",
]  # fmt: skip

MARKED = r"^(auto|nonzero|zero|alpha|[0-9]{1,5}|#[0-9a-fA-F]{6})$"
"""What may name the marked part of a mask."""


StudyName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Frozen(BaseModel):
    """Immutable; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PhantomConfig(Frozen):
    """A synthetic data set in CBIS-DDSM's Kaggle layout."""

    height: int = Field(900, ge=200, le=6000, description="Height of a full mammogram in pixels; its width is 28/45")
    train_per_class: int = Field(60, ge=2, description="Patients per lesion class in the training split")
    test_per_class: int = Field(24, ge=1, description="Patients per lesion class in the test split")
    callback_free: int = Field(60, ge=2, description="Patients with BENIGN_WITHOUT_CALLBACK findings, split likewise")
    confounder: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability that a malignant ROI has a bright cross beside it; no other ROI ever has one",
    )
    seed: int = Field(0, ge=0, description="Same seed, same bytes")

    @property
    def width(self) -> int:
        """Width of a full mammogram in pixels, in the format of an 18 x 24 cm film without its margins."""
        return round(self.height * 28 / 45)


class DataConfig(Frozen):
    """Which data set, and where."""

    source: Source = Field(
        "auto",
        description="auto: what the folder holds; CBIS-DDSM as JPEG (Kaggle) or DICOM (TCIA, IDC); images listed in a"
        " manifest, or in COCO JSON; or drawn",
    )
    name: str | None = Field(
        None, min_length=1, max_length=80, description="Name of own data in reports; without one, the folder's"
    )
    root: Path | None = Field(None, description="Folder of the data set; not used for the phantom")
    positive: tuple[str, ...] = Field(
        (),
        description="Classes of the positive side of the diagnosis, against all other lesion classes; none: recognised"
        " from pathologies or names that begin with MALIGNANT and BENIGN",
    )
    phantom: PhantomConfig = Field(default_factory=PhantomConfig, description="Used when source is phantom")

    @field_validator("root")
    @classmethod
    def _home_of_the_user(cls, root: Path | None) -> Path | None:
        """A shell does not expand a tilde in quotes."""
        try:
            return root and root.expanduser()
        except RuntimeError as error:
            raise ValueError(f"{root}: there is no such user's home; write the path out") from error

    @model_validator(mode="after")
    def _root_where_needed(self) -> Self:
        if self.source != "phantom" and self.root is None:
            raise ValueError("data.root is missing: name the folder of the data set")
        return self


class AnnotationConfig(Frozen):
    """What marks the lesion in a mask."""

    marked: str = Field(
        "auto",
        pattern=MARKED,
        description="auto: what plainly marks it; or nonzero, zero, alpha, a value or palette index, a colour #rrggbb",
    )
    most: float = Field(0.6, gt=0, le=1, description="Largest proportion of an image that a mask may mark")


class PatchConfig(Frozen):
    """Patches around lesions."""

    size: int = Field(224, ge=32, le=1024, description="Side of a stored patch in pixels")
    context: float = Field(3.0, ge=1, le=10, description="Window side divided by lesion box side")
    aspect: Literal["keep", "stretch"] = Field(
        "keep", description="Square windows, or windows of the lesion box's shape stretched to squares (the study)"
    )
    per: Literal["image", "lesion"] = Field(
        "lesion", description="One patch per image and class (the study), or one per lesion"
    )
    component: Literal["all", "each"] = Field(
        "all", description="All marked pixels as one lesion (the study), or each connected component"
    )
    jitter: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How far the lesion may lie from the centre: 0 centred, 1 anywhere in the window",
    )


class BackgroundConfig(Frozen):
    """Patches of classes without lesions."""

    size: int | Literal["matched"] = Field(
        550, description="Window side in pixels, or drawn from the lesion windows' sizes"
    )
    min_mean: float = Field(70 / 3, ge=0, le=255, description="Least mean grey of a window")
    per_image: int = Field(4, ge=1, le=100, description="Most windows taken from one image")
    train: int = Field(644, ge=1, description="Background patches of a class wanted for training and validation")
    test: int = Field(310, ge=1, description="Background patches of a class wanted for test")


class SplitConfig(Frozen):
    """Training, validation and test."""

    rule: Literal["paper", "official", "sound"] = Field("sound", description="Who goes to test")
    group: Literal["patch", "patient"] = Field(
        "patient", description="What stays together between train and validation"
    )
    validation: float = Field(0.15, gt=0, lt=0.5, description="Proportion of the training split used for validation")
    test: float = Field(
        0.2, gt=0, lt=0.9, description="Proportion of patients for test where the data set has no splits of its own"
    )


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
        pattern=r"^(imagenet|none|[a-z0-9_]+-[0-9a-f]{8})$",
        description="Pretrained weights: imagenet; the name of an own file in the folder LESIONLENS_WEIGHTS, backbone"
        " and first digits of its SHA-256 (vgg16-0123abcd); or none: random, batch normalisation calibrated on training"
        " samples",
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


class EvaluationConfig(Frozen):
    """Maps and scores."""

    methods: tuple[Method, ...] = Field(("grad_cam",), min_length=1, description="How activation maps are made")
    layer: Literal["block", "conv"] = Field(
        "block", description="Output of the last block, or the literal last convolution (the study)"
    )
    scaling: Literal["relu_max", "minmax"] = Field(
        "relu_max", description="Positive part over maximum, or min-max without ReLU (the study)"
    )
    explains: Explains = Field(
        "contrast",
        description="What maps explain: a class's logit minus the mean of all, or the logit alone (the study)",
    )
    policy: Policy = Field("validation", description="Threshold policy of the headline localisation score")
    selection: Literal["scaled_loss", "loss"] = Field(
        "scaled_loss",
        description="Validation loss by which runs are chosen: after temperature scaling, or as it is (the study)",
    )
    resamples: int = Field(1000, ge=100, le=100_000, description="Bootstrap resamples, clustered by patient")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the intervals")
    randomisation_samples: int = Field(
        32, ge=0, description="Test lesions whose maps are followed while weights become random layer by layer; 0: none"
    )

    @model_validator(mode="after")
    def _no_method_twice(self) -> Self:
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"evaluation.methods names a method twice ({', '.join(self.methods)}): name each once")
        return self


class StudyConfig(Frozen):
    """One study, whole."""

    name: StudyName = Field("study", description="One line, shown in reports")
    seed: int = Field(0, ge=0, description="Splits, background windows, jitter and bootstrap derive from it")
    data: DataConfig
    annotation: AnnotationConfig = Field(default_factory=AnnotationConfig)
    patches: PatchConfig = Field(default_factory=PatchConfig)
    background: BackgroundConfig = Field(default_factory=BackgroundConfig)
    split: SplitConfig = Field(default_factory=SplitConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    grid: GridConfig = Field(default_factory=GridConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)

    @model_validator(mode="after")
    def _paper_is_of_cbis(self) -> Self:
        if self.data.source in ("manifest", "coco") and self.split.rule == "paper":
            raise ValueError("split.rule paper is about CBIS-DDSM: choose sound, or official, for own images")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _name_options_of_another_version(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(given)
        except ValidationError as error:
            unknown = [".".join(map(str, e["loc"])) for e in error.errors() if e["type"] == "extra_forbidden"]
            if not unknown:
                raise
            raise ValueError(
                f"this version has no option {', '.join(unknown)}: the configuration was made for another one. "
                "Leave the option out; deployments with today's options are registered by `make serve`"
            ) from error
