"""Maps of the evaluated samples, cut to regions by every threshold policy and scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lesionlens.attribution.explain import Advance, Explained, Source, Target, explain
from lesionlens.config import EvaluationConfig, Method
from lesionlens.localization.curves import CURVE, tuned
from lesionlens.localization.metrics import FIXED_THRESHOLD, MapScores, score_grids
from lesionlens.localization.samples import Cut, ScoredMaps, scorable
from lesionlens.models.classifier import Classifier
from lesionlens.records import SampleArrays
from lesionlens.training.inputs import Inputs


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedSplit:
    """The test split, whose maps are scored, and the validation lesions, on which thresholds are tuned.

    inputs: all samples; test: those of the test split; rows, tuning_rows: positions of both in the inputs.
    """

    inputs: Inputs
    test: SampleArrays
    rows: Sequence[int]
    tuning_rows: Sequence[int]
    evaluation: EvaluationConfig


def evaluated_split(inputs: Inputs, evaluation: EvaluationConfig) -> EvaluatedSplit:
    """Raises ValueError where the test split is empty."""
    test, masked = inputs.patches.split("test"), scorable(inputs.patches)
    if not len(test.ids):
        raise ValueError("evaluate: the sample set's test split is empty; check its split")
    tuning_rows = [row for row in inputs.rows("validation") if masked[row]]
    return EvaluatedSplit(inputs, test, inputs.rows("test"), tuning_rows, evaluation)


def model_maps(
    model: Classifier,
    split: EvaluatedSplit,
    methods: tuple[Method, ...],
    targets: tuple[Target, ...],
    advance: Advance,
    stem: Tensor | None = None,
) -> tuple[Explained, list[ScoredMaps]]:
    """The model's predictions for the test split, and its maps by every method for every target, in this order.

    The threshold of the policy 'validation' is tuned for every method on maps of the predicted class. stem: as in
    `Source`.
    """
    layer, evaluation = split.evaluation.layer, split.evaluation
    found = explain(model, Source(split.inputs, split.rows, stem), layer, methods, targets, advance)
    tuning = explain(model, Source(split.inputs, split.tuning_rows, stem), layer, methods, ("predicted",), advance)
    masks = split.inputs.patches.masks[list(split.tuning_rows)]
    levels = {
        method: tuned(score_grids(grids, masks, evaluation.scaling, FIXED_THRESHOLD).curve)
        for (method, _target), grids in tuning.maps.items()
    }
    maps = []
    for (method, target), grids in found.maps.items():
        scores = score_grids(grids, split.test.masks, evaluation.scaling, FIXED_THRESHOLD)
        labels = found.predicted if target == "predicted" else split.test.labels
        cuts = _cuts(scores, levels[method], FIXED_THRESHOLD)
        maps.append(ScoredMaps(method, target, layer, labels, grids, scores, cuts))
    return found, maps


def _cuts(scores: MapScores, level: float | None, fixed: float) -> dict[str, Cut]:
    """The regions of every policy; level: the tuned threshold, None where there were no validation lesions."""
    count = len(scores.fixed_iou)
    chosen = np.full(count, np.nan)
    if level is not None:
        chosen = scores.curve[:, int(np.argmin(np.abs(CURVE - level)))]
    return {
        "fixed": Cut(np.full(count, fixed), scores.fixed_iou),
        "otsu": Cut(scores.otsu_threshold, scores.otsu_iou),
        "validation": Cut(np.full(count, np.nan if level is None else level), chosen),
        "area": Cut(scores.area_threshold, scores.area_iou),
    }
