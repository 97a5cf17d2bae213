"""One trained run, evaluated: predictions, maps, scores and baselines of the test part, as frames."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from polars import DataType

from lesionlens.config import EvaluationConfig, Method, RunConfig, TrainingConfig
from lesionlens.evaluation.baselines import BASELINES, baseline_maps
from lesionlens.evaluation.binary import binary_scores, binary_views
from lesionlens.evaluation.bootstrap import draw
from lesionlens.evaluation.calibration import calibration
from lesionlens.evaluation.erase import Erasures, erase_scores, erase_test
from lesionlens.evaluation.explain import TARGETS, Explained, Target, explain
from lesionlens.evaluation.explanations import Cut, Explanation, explanation_frame, localization_frame, scorable
from lesionlens.evaluation.localise import iou_at, score_grids, score_maps
from lesionlens.evaluation.quadrants import quadrants
from lesionlens.evaluation.randomisation import drawn_lesions, randomisation_test
from lesionlens.evaluation.run_scores import classification_scores, iou_curves, localization_scores
from lesionlens.evaluation.scores import class_scores
from lesionlens.evaluation.strata import stratum_scores
from lesionlens.evaluation.thresholds import CURVE, tuned
from lesionlens.records import Evaluation, PatchArrays
from lesionlens.training.backbones import Classifier
from lesionlens.training.features import FeatureCache
from lesionlens.training.inputs import Inputs
from lesionlens.training.weights import initial_model

PREDICTIONS: dict[str, DataType | type[DataType]] = {
    "patch_id": pl.Int64,
    "predicted": pl.Int16,
    "probabilities": pl.List(pl.Float32),
}
RANDOM: tuple[Method, ...] = ("grad_cam",)

# Added to a run's seed for its random counterpart, so that no weight is shared with a run trained from its seed.
OTHER_SEED = 1_000_003


def evaluate(
    model: Classifier,
    run: RunConfig,
    training: TrainingConfig,
    evaluation: EvaluationConfig,
    patches: PatchArrays,
    attributes: pl.DataFrame,
    seed: int,
    device: str,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict, explain, score and audit the test part; tune the 'validation' threshold on the validation part.

    Every method of the configuration is run for the predicted and the true class. Baselines see the same samples:
    whole patch, centred disc, mean mask, and the same architecture with random weights, which is explained by
    Grad-CAM for the class that it predicts itself (as any model is), with a threshold tuned on its own maps.
    Then the erase test over every test lesion, and the weight randomisation over some. attributes: one row per patch,
    patch_id and what strata and binary views need (see `stratum_scores`, `binary_views`); columns may lack.
    Intervals are bootstraps over the test part's patients, drawn from `seed`, the same for every score.
    `progress` is called with (done, total) samples, each model's pass over a part counting once.
    Raises ValueError where the test part is empty, the training part has no lesion, or an output is not finite.
    """
    test = patches.part("test")
    if not len(test.ids):
        raise ValueError("evaluate: the patch set's test part is empty; check its split")
    inputs = Inputs(patches, training.normalise, torch.device(device))
    rows = inputs.rows("test")
    tuning_rows = [row for row in inputs.rows("validation") if scorable(patches)[row]]
    tuning = patches.masks[tuning_rows]
    advance = _counter(progress, 3 * len(rows) + 2 * len(tuning_rows))
    stem = FeatureCache(cache, inputs, training).get(model.to(device).eval(), ("stem",))["stem"] if cache else None
    layer, methods = evaluation.layer, evaluation.methods

    known = explain(model, inputs, rows, methods, layer, TARGETS, advance, stem)
    levels = _levels(
        explain(model, inputs, tuning_rows, methods, layer, ("predicted",), advance, stem), tuning, evaluation
    )
    maps = [
        _explanation(method, target, known, test, levels[method], evaluation)
        for method in methods
        for target in TARGETS
    ]
    untrained = random_model(run, training, patches)
    chance = explain(untrained, inputs, rows, RANDOM, layer, ("predicted",), advance)
    level = _levels(explain(untrained, inputs, tuning_rows, RANDOM, layer, ("predicted",), advance), tuning, evaluation)
    random = _explanation("grad_cam", "predicted", chance, test, level["grad_cam"], evaluation)
    explanations = [*maps, replace(random, method="random_weights"), *_baselines(patches, test, evaluation)]
    erasures = _erasures(model, inputs, test, known, seed, advance)
    drawn = drawn_lesions(inputs, evaluation.randomisation_samples, np.random.default_rng(seed))
    randomisations = randomisation_test(model, run, inputs, drawn, evaluation, run.seed + OTHER_SEED)
    return _frames(patches, attributes, known, explanations, erasures, randomisations, evaluation, seed)


def random_model(run: RunConfig, training: TrainingConfig, patches: PatchArrays) -> Classifier:
    """The run's architecture with random weights, its batch-norm statistics measured as before a training from none.

    Made on the CPU, so that it is the same model whatever device it then runs on.
    """
    inputs = Inputs(patches, training.normalise, torch.device("cpu"))
    other = run.model_copy(update={"seed": run.seed + OTHER_SEED})
    from_none = training.model_copy(update={"weights": "none"})
    return initial_model(other, from_none, len(patches.classes), inputs, inputs.rows("train"))


def _counter(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return advance


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
    test: PatchArrays,
    level: float | None,
    evaluation: EvaluationConfig,
) -> Explanation:
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
    return Explanation(method, target, evaluation.layer, labels, grids, scores, cuts)


def _baselines(patches: PatchArrays, test: PatchArrays, evaluation: EvaluationConfig) -> list[Explanation]:
    """The three constant localisers, scored like maps; their region is the policy 'mask'."""
    train = patches.part("train")
    made = baseline_maps(train.masks[scorable(train)], test.masks.shape[1])
    explanations = []
    for name in BASELINES:
        constant, level = made[name]
        maps = np.broadcast_to(constant, test.masks.shape)
        cut = np.full(len(test.ids), level)
        # The level of a map that is only 0 and 1 says nothing, so none is stored.
        shown = cut if name == "mean_mask" else np.full(len(test.ids), np.nan)
        scores = score_maps(maps, test.masks, evaluation.fixed_threshold)
        cuts = {"mask": Cut(shown, iou_at(maps, test.masks, cut))}
        explanations.append(Explanation(name, "none", "none", None, None, scores, cuts))
    return explanations


def _erasures(
    model: Classifier, inputs: Inputs, test: PatchArrays, known: Explained, seed: int, advance: Callable[[int], None]
) -> Erasures:
    alone = Inputs(test, inputs.mode, inputs.device)
    erasures = erase_test(model, alone, known.probabilities, np.random.default_rng(seed))
    advance(len(test.ids))
    return erasures


def _frames(
    patches: PatchArrays,
    attributes: pl.DataFrame,
    known: Explained,
    explanations: list[Explanation],
    erasures: Erasures,
    randomisations: pl.DataFrame,
    evaluation: EvaluationConfig,
    seed: int,
) -> Evaluation:
    test, probabilities, confidence = patches.part("test"), known.probabilities, evaluation.confidence
    clusters = draw(test.patients, evaluation.resamples, np.random.default_rng(seed))
    correct: NDArray[np.bool_] = known.predicted == test.labels
    headline = explanations[0]
    ious = {headline.method: headline.cuts[evaluation.policy].iou} | {
        e.method: e.cuts["mask" if e.target == "none" else evaluation.policy].iou
        for e in explanations
        if e.target == "none" or e.method == "random_weights"
    }
    calibration_error, reliability = calibration(probabilities, test.labels, clusters, confidence)
    binary = [
        binary_scores(view, probabilities, test.labels, positive, among, clusters, confidence)
        for view, (positive, among) in binary_views(patches, attributes).items()
    ]
    predictions = {"patch_id": test.ids, "predicted": known.predicted, "probabilities": probabilities.tolist()}
    return Evaluation(
        predictions=pl.DataFrame(predictions, schema=PREDICTIONS),
        explanations=pl.concat([explanation_frame(test, e) for e in explanations]),
        localizations=pl.concat([localization_frame(test, e) for e in explanations]),
        class_scores=class_scores(probabilities, test.labels),
        run_scores=pl.concat(
            [
                classification_scores(test, probabilities, clusters, confidence),
                *binary,
                calibration_error,
                localization_scores(test, correct, explanations, clusters, confidence),
                erase_scores(test, correct, erasures, clusters, confidence),
            ]
        ),
        stratum_scores=stratum_scores(test, attributes, correct, ious, clusters, confidence),
        iou_curves=iou_curves(test, correct, explanations, clusters, confidence),
        quadrants=quadrants(test, correct, headline.scores.hit, clusters, confidence),
        reliability=reliability,
        erasures=erasures.frame(test),
        randomisations=randomisations,
    )
