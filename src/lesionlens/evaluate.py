"""One trained run, evaluated: predictions, maps, scores and baselines of the test split, as frames."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from lesionlens.attribution.explain import TARGETS, Explained
from lesionlens.audits.occlusion import Occlusions, occlusion_scores, occlusion_test
from lesionlens.audits.randomisation import drawn_lesions, layers, randomisation_test
from lesionlens.config import EvaluationConfig, RunConfig, StudyConfig, TrainingConfig
from lesionlens.frames import FRAMES
from lesionlens.identity import digest
from lesionlens.localization.baselines import OTHER_SEED, constant_baselines, random_weights
from lesionlens.localization.maps import evaluated_split, model_maps
from lesionlens.localization.samples import ScoredMaps, localization_frame, map_frame
from lesionlens.models.classifier import Classifier
from lesionlens.records import Evaluation, SampleArrays
from lesionlens.scoring.binary import binary_scores, binary_views
from lesionlens.scoring.bootstrap import draw
from lesionlens.scoring.calibration import calibration
from lesionlens.scoring.classification import class_scores, classification_scores, confusion_intervals
from lesionlens.scoring.localization import baseline_differences, iou_curves, localization_scores
from lesionlens.scoring.subgroups import quadrants, subgroup_scores
from lesionlens.training.feature_cache import FeatureCache
from lesionlens.training.inputs import Inputs

REVISION = 1
"""Raised by every change of this code after which the same options give other numbers, or more of them."""


def evaluation_digest(config: StudyConfig) -> str:
    """Identity of a study's evaluations: 64 hex characters. Evaluations of an older revision have another one."""
    return digest("evaluation", REVISION, config.evaluation, config.seed)


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationInputs:
    """What the numbers of an evaluation depend on, beside the model.

    samples: the sample set, all splits. attributes: one row per sample, sample_id and what subgroups and binary views
    need (see `subgroup_scores`, `binary_views`); columns may be missing. seed: of all draws.
    """

    run: RunConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    samples: SampleArrays
    attributes: pl.DataFrame
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """What models gave for the test split, before any score over samples; maps: the headline method's first."""

    predictions: Explained
    maps: list[ScoredMaps]
    occlusions: Occlusions
    randomisations: pl.DataFrame


def evaluate(
    model: Classifier,
    given: EvaluationInputs,
    device: str,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict, explain, score and audit the test split; tune the 'validation' threshold on the validation split.

    Every method of the configuration is run for the predicted and the true class. Baselines are scored on the same
    samples: whole patch, centred disc, mean mask, and the same architecture with random weights, which is explained by
    Grad-CAM for the class that it predicts itself (as any model is), with a threshold tuned on its own maps. Then the
    occlusion test over every test lesion, and the weight randomisation over some.
    Intervals are bootstraps over the test split's patients, drawn from the seed, the same for every score.
    cache: folder of stored features. `progress` is called with (done, total) samples, each pass of a model over them
    counting once. Raises ValueError where the test split is empty or the training split has no lesion,
    EvaluationError where an output is not finite.
    """
    return _frames(given, _measured(model, given, device, cache, progress))


def _measured(
    model: Classifier,
    given: EvaluationInputs,
    device: str,
    cache: Path | None,
    progress: Callable[[int, int], None] | None,
) -> _Measured:
    run, training, evaluation = given.run, given.training, given.evaluation
    inputs = Inputs(given.samples, training.normalise, torch.device(device))
    split = evaluated_split(inputs, evaluation)
    drawn = drawn_lesions(inputs, evaluation.randomisation_samples, np.random.default_rng(given.seed))
    total = 3 * len(split.rows) + 2 * len(split.tuning_rows) + len(drawn) * len(layers(model))
    advance = _counter(progress, total)
    stem = FeatureCache(cache, inputs).get(model.to(device).eval(), ("stem",))["stem"] if cache else None
    predictions, maps = model_maps(model, split, evaluation.methods, TARGETS, advance, stem)
    baselines = [random_weights(run, training, split, advance), *constant_baselines(split)]
    alone = Inputs(split.test, inputs.mode, inputs.device)
    occlusions = occlusion_test(model, alone, predictions.probabilities, np.random.default_rng(given.seed))
    advance(len(split.rows))
    randomisations = randomisation_test(model, run, inputs, drawn, evaluation, run.seed + OTHER_SEED, advance)
    return _Measured(predictions, [*maps, *baselines], occlusions, randomisations)


def _counter(progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return advance


def _frames(given: EvaluationInputs, measured: _Measured) -> Evaluation:
    """Scores of the test split, one entry per frame of FRAMES."""
    test, confidence, maps = given.samples.split("test"), given.evaluation.confidence, measured.maps
    predicted, probabilities = measured.predictions.predicted, measured.predictions.probabilities
    correct = np.equal(predicted, test.labels)
    clusters = draw(test.patients, given.evaluation.resamples, np.random.default_rng(given.seed))
    compared = [maps[0], *(m for m in maps if m.is_baseline)]
    ious = {m.method: m.cut(given.evaluation.policy).iou for m in compared}
    calibration_error, reliability = calibration(probabilities, test.labels, clusters, confidence)
    run_scores = [
        classification_scores(test, probabilities, clusters, confidence),
        *(
            binary_scores(view, probabilities, test.labels, positive, among, clusters, confidence)
            for view, (positive, among) in binary_views(given.samples, given.attributes).items()
        ),
        calibration_error,
        localization_scores(test, correct, maps, clusters, confidence),
        occlusion_scores(test, correct, measured.occlusions, clusters, confidence),
    ]
    predictions = {"sample_id": test.ids, "predicted": predicted, "probabilities": probabilities.tolist()}
    frames = {
        "predictions": pl.DataFrame(predictions, schema=FRAMES["predictions"]),
        "maps": pl.concat([map_frame(test, m) for m in maps]),
        "localizations": pl.concat([localization_frame(test, m) for m in maps]),
        "class_scores": class_scores(probabilities, test.labels, clusters, confidence),
        "confusion_intervals": confusion_intervals(probabilities, test.labels, clusters, confidence),
        "run_scores": pl.concat(run_scores),
        "baseline_differences": baseline_differences(test, correct, maps, clusters, confidence),
        "subgroup_scores": subgroup_scores(test, given.attributes, correct, ious, clusters, confidence),
        "iou_curves": iou_curves(test, correct, maps, clusters, confidence),
        "quadrants": quadrants(test, correct, maps[0].scores.hit, clusters, confidence),
        "reliability": reliability,
        "occlusions": measured.occlusions.frame(test),
        "randomisations": measured.randomisations,
    }
    return Evaluation(frames)
