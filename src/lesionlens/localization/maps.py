"""Maps of the evaluated samples, cut to regions by every threshold policy and scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lesionlens.attribution.explain import Advance, Explained, Source, Target, explain
from lesionlens.config.evaluation import EvaluationConfig, Method
from lesionlens.localization.curves import CURVE, tuned
from lesionlens.localization.metrics import FIXED_THRESHOLD, MapScores, score_grids
from lesionlens.localization.samples import Cut, ScoredMaps, scorable
from lesionlens.models.own import Network
from lesionlens.records import SampleArrays
from lesionlens.training.inputs import Inputs


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedSplit:
    """The test split, whose maps are scored, and the validation lesions, on which thresholds are tuned.

    inputs: all samples; test: those of the test split; rows, validation_rows, tuning_rows: positions in the inputs of
    the test split, the validation split, and the lesions of the latter.
    """

    inputs: Inputs
    test: SampleArrays
    rows: Sequence[int]
    validation_rows: Sequence[int]
    tuning_rows: Sequence[int]
    evaluation: EvaluationConfig


def evaluated_split(inputs: Inputs, evaluation: EvaluationConfig) -> EvaluatedSplit:
    """Raises ValueError where the test split is empty."""
    test, masked = inputs.patches.split("test"), scorable(inputs.patches)
    if not len(test.ids):
        raise ValueError("evaluate: the sample set's test split is empty; check its split")
    validation = inputs.rows("validation")
    tuning_rows = [row for row in validation if masked[row]]
    return EvaluatedSplit(inputs, test, inputs.rows("test"), validation, tuning_rows, evaluation)


def model_maps(
    model: Network,
    split: EvaluatedSplit,
    methods: tuple[Method, ...],
    targets: tuple[Target, ...],
    advance: Advance,
    stem: Tensor | None = None,
) -> tuple[Explained, NDArray[np.float32], list[ScoredMaps]]:
    """The model's predictions for the test split, its probabilities float32 [v, classes] for the validation split, and
    its maps of the test split by every method for every target, in this order.

    The threshold of the policy 'validation' is tuned for every method on maps of the predicted class. stem: as in
    `Source`.
    """
    evaluation = split.evaluation
    found = explain(model, Source(split.inputs, split.rows, stem), evaluation, methods, targets, advance)
    tuned_on = Source(split.inputs, split.validation_rows, stem)
    tuning = explain(model, tuned_on, evaluation, methods, ("predicted",), advance)
    return found, tuning.probabilities, scored_methods(split, found, tuning)


def scored_methods(split: EvaluatedSplit, found: Explained, tuning: Explained) -> list[ScoredMaps]:
    """Every method's maps of the test split, `found`, scored; thresholds tuned on those of the validation split."""
    masks, lesions = split.inputs.patches.masks[split.tuning_rows], np.isin(split.validation_rows, split.tuning_rows)
    levels = {
        method: tuned(score_grids(grids[lesions], masks, split.evaluation.scaling, FIXED_THRESHOLD).curve)
        for (method, _target), grids in tuning.maps.items()
    }
    maps = []
    for (method, target), grids in found.maps.items():
        labels = found.predicted if target == "predicted" else split.test.labels
        maps.append(scored(split, method, target, labels, grids, levels.get(method)))
    return maps


def scored(
    split: EvaluatedSplit,
    method: str,
    target: Target,
    labels: NDArray[np.int64],
    grids: NDArray[np.float32],
    level: float | None,
) -> ScoredMaps:
    """Unscaled maps float32 [n, h, w] of the test split, of classes int64 [n], with their scores and regions.

    level: the tuned threshold, None where there were no validation lesions.
    """
    scores = score_grids(grids, split.test.masks, split.evaluation.scaling, FIXED_THRESHOLD)
    cuts = _cuts(scores, level, FIXED_THRESHOLD)
    return ScoredMaps(method, target, split.evaluation.layer, labels, grids, scores, cuts)


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
