"""Maps of the evaluated samples, cut to regions by every threshold policy and scored."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesionlens.attribution.explain import Advance, Explained, Source, Target, explain
from lesionlens.attribution.registry import METHODS
from lesionlens.config.evaluation import EvaluationConfig, Method
from lesionlens.localization.curves import CURVE, tuned
from lesionlens.localization.metrics import FIXED_THRESHOLD, MapScores, score_grids
from lesionlens.localization.samples import Cut, ScoredMaps, scorable
from lesionlens.models.own import Network
from lesionlens.records import SampleArrays
from lesionlens.training.feature_cache import Stored
from lesionlens.training.inputs import Inputs


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedSplit:
    """The test split, whose maps are scored, and the validation lesions, on which thresholds are tuned.

    inputs: all samples; test: those of the test split; rows, validation_rows, tuning_rows: positions in the inputs of
    the test split, the validation split, and the lesions of the latter. few: of test and validation lesions those that
    methods of many passes explain.
    """

    inputs: Inputs
    test: SampleArrays
    rows: Sequence[int]
    validation_rows: Sequence[int]
    tuning_rows: Sequence[int]
    evaluation: EvaluationConfig
    few: frozenset[int]


def evaluated_split(inputs: Inputs, evaluation: EvaluationConfig, seed: int = 0) -> EvaluatedSplit:
    """seed: of the lesions drawn. Raises ValueError where the test split is empty."""
    test, masked = inputs.patches.split("test"), scorable(inputs.patches)
    if not len(test.ids):
        raise ValueError("evaluate: the sample set's test split is empty; check its split")
    validation = inputs.rows("validation")
    tuning_rows = [row for row in validation if masked[row]]
    few = [
        row
        for split in ("test", "validation")
        for row in drawn_lesions(inputs, evaluation.perturbation_samples, np.random.default_rng(seed), split)
    ]
    return EvaluatedSplit(inputs, test, inputs.rows("test"), validation, tuning_rows, evaluation, frozenset(few))


def drawn_lesions(
    inputs: Inputs, count: int, generator: np.random.Generator, split: Literal["test", "validation"] = "test"
) -> list[int]:
    """Positions of `count` samples of a split with a mask (all, where there are fewer), drawn at random, ascending.

    From the same seed fewer samples are some of more.
    """
    rows = np.flatnonzero(scorable(inputs.patches) & (inputs.patches.splits == split))
    return sorted(int(row) for row in generator.permutation(rows)[:count])


def model_maps(
    model: Network,
    split: EvaluatedSplit,
    methods: tuple[Method, ...],
    targets: tuple[Target, ...],
    advance: Advance,
    stored: Stored | None = None,
) -> tuple[Explained, NDArray[np.float32], list[ScoredMaps]]:
    """The model's predictions for the test split, its probabilities float32 [v, classes] for the validation split, and
    its maps of the test split by every method for every target, in this order.

    The threshold of the policy 'validation' is tuned for every method on maps of the predicted class. stored: as in
    `Source`.
    """
    evaluation = split.evaluation
    found = explain(model, Source(split.inputs, split.rows, stored), evaluation, methods, targets, advance, split.few)
    tuned_on = Source(split.inputs, split.validation_rows, stored)
    tuning = explain(model, tuned_on, evaluation, methods, ("predicted",), advance, split.few)
    return found, tuning.probabilities, scored_methods(split, found, tuning)


def scored_methods(split: EvaluatedSplit, found: Explained, tuning: Explained) -> list[ScoredMaps]:
    """Every method's maps of the test split, `found`, scored; thresholds tuned on those of the validation split."""
    maps = []
    for (method, target), grids in found.maps.items():
        at, tuned_on = explained_rows(split, method, split.validation_rows), tuning.maps[method, "predicted"]
        lesions = np.isin(at, split.tuning_rows)
        level = level_of(split, at[lesions], tuned_on[lesions])
        labels = found.predicted if target == "predicted" else split.test.labels
        maps.append(scored(split, method, method, target, labels, grids, level))
    return maps


def explained_rows(split: EvaluatedSplit, method: Method, rows: Sequence[int]) -> NDArray[np.int64]:
    """Those of the rows that a method explains: all, or some where it needs many passes."""
    few = method in METHODS and METHODS[method].many
    return np.array([row for row in rows if not few or row in split.few], dtype=np.int64)


def level_of(split: EvaluatedSplit, rows: NDArray[np.int64], grids: NDArray[np.float32]) -> float | None:
    """The threshold tuned on the maps of validation lesions; None where there are none."""
    if not len(rows):
        return None
    masks = split.inputs.patches.masks[rows]
    return tuned(score_grids(grids, masks, split.evaluation.scaling, FIXED_THRESHOLD).curve)


def scored(
    split: EvaluatedSplit,
    method: Method,
    name: str,
    target: Target,
    labels: NDArray[np.int64],
    grids: NDArray[np.float32],
    level: float | None,
) -> ScoredMaps:
    """Unscaled maps float32 [k, h, w] of the test samples that a method explains, with their scores and regions.

    name: the method's, or that of a baseline. labels int64 [n]: classes explained. level: the tuned threshold, None
    where there were no validation lesions. Samples without a map have NaN scores and thresholds.
    """
    explained = np.isin(split.rows, explained_rows(split, method, split.rows))
    scores = score_grids(grids, split.test.masks[explained], split.evaluation.scaling, FIXED_THRESHOLD)
    cuts = _cuts(scores, level, FIXED_THRESHOLD)
    if explained.all():
        return ScoredMaps(name, target, split.evaluation.layer, labels, grids, scores, cuts)
    apart = {policy: Cut(_apart(cut.threshold, explained), _apart(cut.iou, explained)) for policy, cut in cuts.items()}
    whole = {field.name: _apart(getattr(scores, field.name), explained) for field in fields(scores)}
    every = _apart(grids, explained)
    return ScoredMaps(name, target, split.evaluation.layer, labels, every, MapScores(**whole), apart, explained)


def _apart(values: NDArray[Any], explained: NDArray[np.bool_]) -> NDArray[Any]:
    """Values [k, ...] of the samples explained, in an array [n, ...]: NaN, or False, for all others."""
    nothing = False if values.dtype == np.bool_ else np.nan
    found = np.full((len(explained), *values.shape[1:]), nothing, dtype=values.dtype)
    found[explained] = values
    return found


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
