"""Maps, scores and audits."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from lesionlens.config.base import Frozen

Policy = Literal["fixed", "otsu", "validation", "area"]
Explains = Literal["logit", "contrast"]
Method = Literal[
    "grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "eigen_cam", "score_cam", "ablation_cam", "saliency",
    "smooth_grad", "integrated_gradients", "gradient_shap", "kernel_shap", "lime", "occlusion", "prototypes", "boxes",
]  # fmt: skip
BOXES: Method = "boxes"
"""The only map of a detector: its boxes, painted with their scores. No classifier has it."""
ALL: tuple[Method, ...] = tuple(name for name in get_args(Method) if name not in ("prototypes", BOXES))
"""The methods that explain any classifier; prototypes explain models that have them."""


def _named(given: object) -> object:
    return ALL if given == "all" or given == ["all"] else given


Methods = Annotated[
    tuple[Method, ...],
    Field(min_length=1),
    BeforeValidator(_named, json_schema_input_type=Literal["all"] | tuple[Method, ...]),
]
"""Attribution methods, the headline's first; `all` stands for each of them."""


class EvaluationConfig(Frozen):
    """Maps and scores."""

    methods: Methods = Field(("grad_cam",), description="How activation maps are made, or all; the headline's first")
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
    perturbation_samples: int = Field(
        32,
        ge=1,
        description="Test lesions explained by methods that need many passes for a map, and as many validation lesions",
    )
    flips: bool = Field(
        False,
        description="Malignancy is also scored by the mean probability over four flips of a film, or the eight flips"
        " and quarter turns of a patch, beside the score without",
    )

    @model_validator(mode="after")
    def _no_method_twice(self) -> Self:
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"evaluation.methods names a method twice ({', '.join(self.methods)}): name each once")
        return self
