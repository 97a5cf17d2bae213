"""Every localiser of one evaluation, scored on the same samples: a run's maps, and the baselines beside them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesionlens.attribution.explain import TARGETS, Explained, Target, explain
from lesionlens.config import EvaluationConfig, Method, RunConfig, TrainingConfig
from lesionlens.localization.curves import CURVE, tuned
from lesionlens.localization.metrics import iou_at, iou_curve, score_grids, score_maps
from lesionlens.localization.samples import Cut, ScoredMaps, scorable
from lesionlens.models.classifier import Classifier
from lesionlens.models.weights import initial_model
from lesionlens.records import SampleArrays
from lesionlens.training.inputs import Inputs

Baseline = Literal["whole_patch", "centred_disc", "mean_mask"]
BASELINES: tuple[Baseline, ...] = ("whole_patch", "centred_disc", "mean_mask")


def baseline_maps(train_masks: NDArray[np.bool_], size: int) -> dict[Baseline, tuple[NDArray[np.float32], float]]:
    """A map float32 [size, size] in [0, 1] and the threshold that makes it a region, for every baseline.

    train_masks bool [n, size, size]: the masks of the training split's lesions; empty ones do not count.
    whole_patch: 1 everywhere. centred_disc: the disc around the centre with the area of the mean training lesion.
    mean_mask: the mean of the training masks, min-max scaled, cut at that level of 0.05..0.95 which has the highest
    mean IoU with the training masks themselves. Raises ValueError where there is no training lesion.
    """
    masks = train_masks[train_masks.any(axis=(1, 2))]
    if not len(masks):
        raise ValueError("baselines: the training split has no lesion with a mask; check the sample set's split")
    mean = mean_map(masks)
    curves = np.concatenate(
        [iou_curve(np.broadcast_to(mean, part.shape), part) for part in np.array_split(masks, 1 + len(masks) // 64)]
    )
    return {
        "whole_patch": (np.ones((size, size), dtype=np.float32), 0.5),
        "centred_disc": (disc(size, float(masks.sum(axis=(1, 2)).mean())).astype(np.float32), 0.5),
        "mean_mask": (mean, tuned(curves) or float(CURVE[9])),
    }


def disc(size: int, area: float) -> NDArray[np.bool_]:
    """A disc of `area` pixels around the centre of a square of side `size`: bool [size, size].

    Its pixels are those nearest to the centre, as many as `area` rounded, so the area holds at any size; at least one.
    """
    axis = np.arange(size) - (size - 1) / 2
    distance = (axis[:, None] ** 2 + axis[None, :] ** 2).ravel()
    nearest = np.argsort(distance, kind="stable")[: max(1, min(size * size, round(area)))]
    region = np.zeros(size * size, dtype=np.bool_)
    region[nearest] = True
    return region.reshape(size, size)


def mean_map(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mean of masks bool [n, s, s], min-max scaled to float32 [s, s] in [0, 1]; ones where it is constant."""
    mean = masks.mean(axis=0, dtype=np.float64)
    low, high = mean.min(), mean.max()
    if high <= low:
        return np.ones(mean.shape, dtype=np.float32)
    scaled: NDArray[np.float32] = ((mean - low) / (high - low)).astype(np.float32)
    return scaled


RANDOM: tuple[Method, ...] = ("grad_cam",)

# Added to a run's seed for its random counterpart, so that no weight is shared with a run trained from its seed.
OTHER_SEED = 1_000_003


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What all localisers see: the test split, scored, and the validation lesions, on which thresholds are tuned.

    inputs: all patches; test: those of the test split; rows, tuning_rows: their positions in the inputs.
    """

    inputs: Inputs
    test: SampleArrays
    rows: Sequence[int]
    tuning_rows: Sequence[int]
    evaluation: EvaluationConfig

    @property
    def tuning_masks(self) -> NDArray[np.bool_]:
        masks: NDArray[np.bool_] = self.inputs.patches.masks[list(self.tuning_rows)]
        return masks


def run_maps(
    model: Classifier, samples: Samples, advance: Callable[[int], None], stem: Tensor | None
) -> tuple[Explained, list[ScoredMaps]]:
    """The run's predictions, and its maps of every method for the predicted and the true class, first method first."""
    layer, methods = samples.evaluation.layer, samples.evaluation.methods
    known = explain(model, samples.inputs, samples.rows, methods, layer, TARGETS, advance, stem)
    tuning = explain(model, samples.inputs, samples.tuning_rows, methods, layer, ("predicted",), advance, stem)
    levels = _levels(tuning, samples.tuning_masks, samples.evaluation)
    maps = [
        _explanation(method, target, known, samples.test, levels[method], samples.evaluation)
        for method in methods
        for target in TARGETS
    ]
    return known, maps


def random_weights(
    run: RunConfig, training: TrainingConfig, samples: Samples, advance: Callable[[int], None]
) -> ScoredMaps:
    """The same architecture with random weights, explained by Grad-CAM for the class that it predicts itself."""
    model, layer = random_model(run, training, samples.inputs.patches), samples.evaluation.layer
    known = explain(model, samples.inputs, samples.rows, RANDOM, layer, ("predicted",), advance)
    tuning = explain(model, samples.inputs, samples.tuning_rows, RANDOM, layer, ("predicted",), advance)
    level = _levels(tuning, samples.tuning_masks, samples.evaluation)["grad_cam"]
    found = _explanation("grad_cam", "predicted", known, samples.test, level, samples.evaluation)
    return replace(found, method="random_weights")


def random_model(run: RunConfig, training: TrainingConfig, patches: SampleArrays) -> Classifier:
    """The run's architecture with random weights, its batch-norm statistics measured as before a training from none.

    Made on the CPU, so that it is the same model whatever device it then runs on.
    """
    inputs = Inputs(patches, training.normalise, torch.device("cpu"))
    other = run.model_copy(update={"seed": run.seed + OTHER_SEED})
    from_none = training.model_copy(update={"weights": "none"})
    return initial_model(other, from_none, len(patches.classes), inputs, inputs.rows("train"))


def constant_baselines(samples: Samples) -> list[ScoredMaps]:
    """The three constant localisers, scored like maps; their region is the policy 'mask'."""
    train, test = samples.inputs.patches.split("train"), samples.test
    made = baseline_maps(train.masks[scorable(train)], test.masks.shape[1])
    explanations = []
    for name in BASELINES:
        constant, level = made[name]
        maps = np.broadcast_to(constant, test.masks.shape)
        cut = np.full(len(test.ids), level)
        # The level of a map that is only 0 and 1 says nothing, so none is stored.
        shown = cut if name == "mean_mask" else np.full(len(test.ids), np.nan)
        scores = score_maps(maps, test.masks, samples.evaluation.fixed_threshold)
        cuts = {"mask": Cut(shown, iou_at(maps, test.masks, cut))}
        explanations.append(ScoredMaps(name, "none", "none", None, None, scores, cuts))
    return explanations


def _levels(known: Explained, masks: NDArray[np.bool_], evaluation: EvaluationConfig) -> dict[Method, float | None]:
    """The threshold of each method with the highest mean IoU over the validation lesions; None without any."""
    return {
        method: tuned(score_grids(grids, masks, evaluation.scaling, evaluation.fixed_threshold).curve)
        for (method, _target), grids in known.grids.items()
    }


def _explanation(
    method: Method,
    target: Target,
    known: Explained,
    test: SampleArrays,
    level: float | None,
    evaluation: EvaluationConfig,
) -> ScoredMaps:
    """One method's maps for one target, scored under all four policies."""
    grids = known.grids[method, target]
    scores = score_grids(grids, test.masks, evaluation.scaling, evaluation.fixed_threshold)
    count = len(test.ids)
    chosen = np.full(count, np.nan)
    if level is not None:
        chosen = scores.curve[:, int(np.argmin(np.abs(CURVE - level)))]
    cuts = {
        "fixed": Cut(np.full(count, evaluation.fixed_threshold), scores.fixed_iou),
        "otsu": Cut(scores.otsu_threshold, scores.otsu_iou),
        "validation": Cut(np.full(count, np.nan if level is None else level), chosen),
        "area": Cut(scores.area_threshold, scores.area_iou),
    }
    labels = known.predicted if target == "predicted" else test.labels
    return ScoredMaps(method, target, evaluation.layer, labels, grids, scores, cuts)
