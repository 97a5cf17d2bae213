"""One trained run, evaluated: predictions, maps, scores and baselines of the test split, as frames."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from lesionlens.attribution.explain import Explained
from lesionlens.audits.occlusion import Occlusions, occlusion_scores, occlusion_test
from lesionlens.audits.randomisation import drawn_lesions, layers, randomisation_test
from lesionlens.config import EvaluationConfig, RunConfig, StudyConfig, TrainingConfig
from lesionlens.frames import FRAMES
from lesionlens.identity import digest
from lesionlens.localization.baselines import OTHER_SEED, Samples, constant_baselines, random_weights, run_maps
from lesionlens.localization.samples import ScoredMaps, localization_frame, map_frame, scorable
from lesionlens.models.classifier import Classifier
from lesionlens.records import Evaluation, SampleArrays
from lesionlens.scoring.binary import binary_scores, binary_views
from lesionlens.scoring.bootstrap import draw
from lesionlens.scoring.calibration import calibration
from lesionlens.scoring.classification import class_intervals, class_scores, confusion_intervals
from lesionlens.scoring.localization import baseline_differences
from lesionlens.scoring.run_scores import classification_scores, iou_curves, localization_scores
from lesionlens.scoring.subgroups import quadrants, subgroup_scores
from lesionlens.training.feature_cache import FeatureCache
from lesionlens.training.inputs import Inputs

REVISION = 2
"""Raised by every change of this code after which the same options give other numbers, or more of them."""


def evaluation_digest(config: StudyConfig) -> str:
    """Identity of a study's evaluations: 64 hex characters. Evaluations of an older revision have another one."""
    return digest("evaluation", REVISION, config.evaluation, config.seed)


def evaluate(
    model: Classifier,
    run: RunConfig,
    training: TrainingConfig,
    evaluation: EvaluationConfig,
    patches: SampleArrays,
    attributes: pl.DataFrame,
    seed: int,
    device: str,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict, explain, score and audit the test split; tune the 'validation' threshold on the validation split.

    Every method of the configuration is run for the predicted and the true class. Baselines see the same samples:
    whole patch, centred disc, mean mask, and the same architecture with random weights, which is explained by
    Grad-CAM for the class that it predicts itself (as any model is), with a threshold tuned on its own maps.
    Then the erase test over every test lesion, and the weight randomisation over some. attributes: one row per patch,
    sample_id and what subgroups and binary views need (see `subgroup_scores`, `binary_views`); columns may lack.
    Intervals are bootstraps over the test split's patients, drawn from `seed`, the same for every score.
    `progress` is called with (done, total) samples, each pass of a model over them counting once.
    Raises ValueError where the test split is empty, the training split has no lesion, or an output is not finite.
    """
    test = patches.split("test")
    if not len(test.ids):
        raise ValueError("evaluate: the sample set's test split is empty; check its split")
    inputs = Inputs(patches, training.normalise, torch.device(device))
    masked = scorable(patches)
    tuning_rows = [row for row in inputs.rows("validation") if masked[row]]
    samples = Samples(inputs, test, inputs.rows("test"), tuning_rows, evaluation)
    drawn = drawn_lesions(inputs, evaluation.randomisation_samples, np.random.default_rng(seed))
    advance = _counter(progress, 3 * len(test.ids) + 2 * len(tuning_rows) + len(drawn) * len(layers(model)))
    stem = FeatureCache(cache, inputs).get(model.to(device).eval(), ("stem",))["stem"] if cache else None
    known, maps = run_maps(model, samples, advance, stem)
    localisers = [*maps, random_weights(run, training, samples, advance), *constant_baselines(samples)]
    alone = Inputs(test, inputs.mode, inputs.device)
    occlusions = occlusion_test(model, alone, known.probabilities, np.random.default_rng(seed))
    advance(len(test.ids))
    randomisations = randomisation_test(model, run, inputs, drawn, evaluation, run.seed + OTHER_SEED, advance)
    return _frames(patches, attributes, known, localisers, occlusions, randomisations, evaluation, seed)


def _counter(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return advance


def _frames(
    patches: SampleArrays,
    attributes: pl.DataFrame,
    known: Explained,
    explanations: list[ScoredMaps],
    occlusions: Occlusions,
    randomisations: pl.DataFrame,
    evaluation: EvaluationConfig,
    seed: int,
) -> Evaluation:
    test, probabilities, confidence = patches.split("test"), known.probabilities, evaluation.confidence
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
    predictions = {"sample_id": test.ids, "predicted": known.predicted, "probabilities": probabilities.tolist()}
    frames = {
        "predictions": pl.DataFrame(predictions, schema=FRAMES["predictions"]),
        "maps": pl.concat([map_frame(test, e) for e in explanations]),
        "localizations": pl.concat([localization_frame(test, e) for e in explanations]),
        "class_scores": class_scores(probabilities, test.labels).hstack(
            class_intervals(probabilities, test.labels, clusters, confidence)
        ),
        "confusion_intervals": confusion_intervals(probabilities, test.labels, clusters, confidence),
        "run_scores": pl.concat(
            [
                classification_scores(test, probabilities, clusters, confidence),
                *binary,
                calibration_error,
                localization_scores(test, correct, explanations, clusters, confidence),
                occlusion_scores(test, correct, occlusions, clusters, confidence),
            ]
        ),
        "baseline_differences": baseline_differences(test, correct, explanations, clusters, confidence),
        "subgroup_scores": subgroup_scores(test, attributes, correct, ious, clusters, confidence),
        "iou_curves": iou_curves(test, correct, explanations, clusters, confidence),
        "quadrants": quadrants(test, correct, headline.scores.hit, clusters, confidence),
        "reliability": reliability,
        "occlusions": occlusions.frame(test),
        "randomisations": randomisations,
    }
    return Evaluation(frames)
