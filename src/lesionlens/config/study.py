"""One study, whole. This is what the Prefect form shows."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator

from lesionlens.config.base import Frozen
from lesionlens.config.data import (
    FILM_SCALE,
    AnnotationConfig,
    BackgroundConfig,
    DataConfig,
    ImageConfig,
    PatchConfig,
    SplitConfig,
)
from lesionlens.config.evaluation import BOXES, EvaluationConfig
from lesionlens.config.training import GridConfig, TrainingConfig
from lesionlens.config.words import unknown
from lesionlens.identity import digest

REVISION = 8
"""Raised by every change of the evaluation after which the same options give other numbers, or more of them."""

Unit = Literal["patch", "image", "breast"]
StudyName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]


class StudyConfig(Frozen):
    """One study, whole."""

    name: StudyName = Field("study", description="One line, shown in reports")
    seed: int = Field(0, ge=0, description="Splits, background windows, jitter and bootstrap derive from it")
    data: DataConfig
    unit: Unit = Field(
        "patch", description="What a sample is: a patch; an image, the whole film; or a breast, its CC above its MLO"
    )
    annotation: AnnotationConfig = Field(default_factory=AnnotationConfig)
    patches: PatchConfig = Field(default_factory=PatchConfig)
    images: ImageConfig = Field(default_factory=ImageConfig, description="Used where the unit is image")
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

    @model_validator(mode="after")
    def _margins_are_of_lesions(self) -> Self:
        if self.data.classes == "margins" and self.data.source == "coco":
            raise ValueError("data.classes margins: COCO files have categories alone; name the margins in a manifest")
        if self.data.classes == "margins" and self.patches.per == "image":
            raise ValueError("data.classes margins names the class of a lesion: choose patches.per lesion")
        return self

    @model_validator(mode="after")
    def _prototypes_where_they_are(self) -> Self:
        cases, training = self.grid.system == "prototype", self.training
        if "prototypes" in self.evaluation.methods and not cases:
            raise ValueError("evaluation.methods names prototypes, which grid.system prototype alone has")
        if cases and self.unit != "patch":
            raise ValueError("grid.system prototype compares patches: choose unit patch")
        if cases and "two_step" in self.grid.strategies:
            raise ValueError(
                "grid.strategies two_step trains a top: prototypes have none; choose gradual or simultaneous"
            )
        if cases and any(each.weight for each in self.grid.guidance):
            raise ValueError("grid.guidance is for grid.system classifier: prototypes have training.prototypes.fine")
        if training.precision != "float32" and cases:
            raise ValueError("training.precision is for classifiers and detectors: choose float32 for prototypes")
        if training.stopping.keep == "averaged" and self.grid.system != "classifier":
            raise ValueError("training.stopping.keep averaged is for grid.system classifier: choose lowest")
        if cases and "last_block" in self.grid.strategies:
            raise ValueError("grid.strategies last_block is for grid.system classifier: choose gradual")
        return self

    @model_validator(mode="after")
    def _regularised_are_classifiers(self) -> Self:
        given = self.training.model_dump(include={"weight_decay", "dropout", "label_smoothing", "schedule"})
        chosen = [name for name, value in given.items() if value not in (0, "constant")]
        if chosen and self.grid.system != "classifier":
            raise ValueError(f"training.{chosen[0]} is for grid.system classifier: leave it out")
        return self

    @model_validator(mode="after")
    def _films_lie_as_they_are(self) -> Self:
        if self.unit != "patch":
            if self.split.rule == "paper" or self.split.group == "patch":
                raise ValueError(
                    f"unit {self.unit}: films are split by patient; choose split.rule sound, official or given"
                )
            turned = [] if self.grid.system == "detector" else ["flips"]
            if self.training.augment in (*turned, "patch", "surroundings"):
                raise ValueError(
                    f"unit {self.unit}: training.augment {self.training.augment} is for patches; choose none"
                )
            if self.data.classes == "margins":
                raise ValueError(f"unit {self.unit}: a film is malignant or not; data.classes margins is for patches")
            if self.training.normalise == "per_class":
                raise ValueError(f"unit {self.unit}: training.normalise per_class is for patches; choose train")
        return self

    @model_validator(mode="after")
    def _detectors_find_lesions_on_films(self) -> Self:
        if self.grid.system != "detector":
            if BOXES in self.evaluation.methods:
                raise ValueError("evaluation.methods boxes is the map of a detector: choose one for classifiers")
            return self
        if self.unit != "image":
            raise ValueError("grid.system detector finds lesions on films: choose unit image")
        if self.grid.strategies != ("simultaneous",) or any(each.weight for each in self.grid.guidance):
            raise ValueError("grid.system detector: choose grid.strategies simultaneous alone, and no guidance")
        if self.training.augment not in ("none", "flips"):
            raise ValueError("grid.system detector: training.augment flips moves boxes along; choose it, or none")
        if self.evaluation.methods != (BOXES,):
            raise ValueError("grid.system detector: its only map is that of its boxes; choose evaluation.methods boxes")
        return self

    @model_validator(mode="after")
    def _copies_are_of_films(self) -> Self:
        frame, patches = self.patches.frame, self.patches
        if frame == "lesion" and patches.copies > 1:
            raise ValueError("patches.copies is for patches.frame image: choose that, or 1")
        if frame == "image" and patches.size > min(self.images.height, self.images.width):
            raise ValueError(f"patches.size {patches.size} is more than the film has: images.height, images.width")
        return self

    @model_validator(mode="after")
    def _two_views_are_joined(self) -> Self:
        if (self.unit == "breast") != (self.training.top == "two_views"):
            raise ValueError("unit breast and training.top two_views go together: choose both or neither")
        if self.unit == "breast" and self.evaluation.layer == "conv":
            raise ValueError("unit breast: the last convolution sees one view at a time; choose evaluation.layer block")
        return self

    @model_validator(mode="after")
    def _tops_are_of_films(self) -> Self:
        if self.training.top != "none":
            if self.unit == "patch" or self.grid.system != "classifier":
                raise ValueError("training.top is for classifiers of films: choose none, or unit image")
            if any(each.weight for each in self.grid.guidance):
                raise ValueError("grid.guidance needs the linear layer on unit1: choose training.top none, or weight 0")
            if set(self.grid.strategies) - {"two_step", "last_block"}:
                raise ValueError("training.top is trained by grid.strategies two_step or last_block")
        return self

    @model_validator(mode="after")
    def _flips_are_of_classifiers(self) -> Self:
        if self.evaluation.flips and self.grid.system != "classifier":
            raise ValueError("evaluation.flips is for grid.system classifier: choose false")
        return self

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Height and width of a sample in pixels, and how many of them are a side of a pixel of its mask."""
        if self.unit == "patch":
            return self.patches.size, self.patches.size, 1
        films = 2 if self.unit == "breast" else 1
        return films * self.images.height, self.images.width, FILM_SCALE

    @property
    def positive(self) -> tuple[str, ...]:
        """Classes of samples on the positive side of the diagnosis; of films these are known by their names."""
        return self.data.positive if self.unit == "patch" else ()

    @model_validator(mode="wrap")
    @classmethod
    def _name_unknown_options(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(given)
        except ValidationError as error:
            names = [".".join(map(str, e["loc"])) for e in error.errors() if e["type"] == "extra_forbidden"]
            if not names:
                raise
            raise ValueError("; ".join(unknown(cls, name) for name in names)) from error


def started_by(config: StudyConfig, digests: Mapping[str, str]) -> StudyConfig:
    """The configuration with the digest of the study that it starts from, where `digests` has it by name."""
    start = config.training.start
    if start is None or start not in digests:
        return config
    return config.model_copy(update={"training": config.training.model_copy(update={"start": digests[start]})})


PREPARED = {"data", "annotation", "patches", "images", "background", "split"}
"""Parts that decide the samples, by whose digest a study knows them."""


def measured_step(config: StudyConfig) -> dict[str, Any]:
    """Of which training step `training.precision: auto` asks how long it takes: that of the grid's first run."""
    run = config.grid.runs()[0]
    size = list(config.sample_shape[:2]) if run.system == "detector" else config.patches.size
    return {"system": run.system, "backbone": run.backbone, "size": size}


def sample_set_digest(config: StudyConfig, index: str) -> str:
    """Identity of the samples that a study cuts from a data set whose index has this digest."""
    cut: tuple[Any, ...] = (config.patches, config.background)
    if config.unit != "patch":
        cut = (config.unit, config.images)
    elif config.patches.frame == "image":
        cut = (*cut, config.images)
    return digest(index, config.annotation, *cut, config.split, config.seed)


def study_digest(config: StudyConfig, samples: str) -> str:
    """Identity of a study over the sample set of this digest, wherever its data lie."""
    content = config.model_dump(mode="json", exclude=PREPARED)
    return digest(content, samples)


def evaluation_digest(config: StudyConfig) -> str:
    """Identity of a study's evaluations: 64 hex characters. Evaluations of an older revision have another one."""
    return digest("evaluation", REVISION, config.evaluation, config.positive, config.seed)
