"""One trained run, evaluated: predictions, maps, scores and baselines of the test split, as frames."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from lesionlens.attribution.closed_form import fast
from lesionlens.attribution.explain import TARGETS, Explained, Source, counter, explain
from lesionlens.attribution.sweep import PatchRun
from lesionlens.audits.altered import intact_films, over_flips
from lesionlens.audits.faithfulness import Curves, faithfulness, faithfulness_scores
from lesionlens.audits.occlusion import VARIANTS, Occlusions, lesion_regions, occlusion_scores, occlusion_test
from lesionlens.audits.randomisation import layers, randomisation_test
from lesionlens.audits.swap import Swaps, swap_test
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.training import Normalise
from lesionlens.detection.marks import Marks
from lesionlens.detection.network import Detector
from lesionlens.detection.outputs import detector_outputs
from lesionlens.detection.scores import mark_frames
from lesionlens.errors import EvaluationError
from lesionlens.frames import FRAMES
from lesionlens.localization.baselines import ceiling, constant_baselines, film_maps, random_weights
from lesionlens.localization.dealt import Dealt, dealt_frames, dealt_maps, nulls
from lesionlens.localization.maps import EvaluatedSplit, drawn_lesions, evaluated_split, model_maps, scored_methods
from lesionlens.localization.prototypes import Cases, cases
from lesionlens.localization.samples import ScoredMaps, localization_frame, map_frame
from lesionlens.models.arithmetic import float32
from lesionlens.models.classifier import Classifier
from lesionlens.models.own import Network
from lesionlens.records import Evaluation, SampleArrays
from lesionlens.scoring import binary
from lesionlens.scoring.bootstrap import Clusters, draw
from lesionlens.scoring.calibration import calibration, validation_scores
from lesionlens.scoring.classification import class_scores, classification_scores, confusion_intervals
from lesionlens.scoring.localization import (
    baseline_differences,
    ceiling_shares,
    dealt_scores,
    iou_curves,
    localization_scores,
)
from lesionlens.scoring.operating import breasts, operating_points
from lesionlens.scoring.prototypes import activation_precisions, explained_scores, prototype_frames
from lesionlens.scoring.subgroups import quadrants, subgroup_scores
from lesionlens.training.feature_cache import FeatureCache, Stored
from lesionlens.training.inputs import Inputs

AUDITS = 5  # passes over the test split that the audits count as: three occlusions, swap, faithfulness


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationInputs:
    """What the numbers of an evaluation depend on, beside the model.

    samples: the sample set, all splits. attributes: one row per sample, sample_id and what subgroups, binary views and
    levels need (see `subgroup_scores`, `binary_views`; laterality); columns may be missing. seed: of all draws.
    random: draw -> the same network with random weights; None where it has none, so that what needs it is missing.
    positive: as `data.positive`. Of films, shown: the lesions on them (see `lesions_of`, `groups_of`); patches: the run
    of patches that the model began with, if it did.
    """

    normalise: Normalise
    evaluation: EvaluationConfig
    samples: SampleArrays
    attributes: pl.DataFrame
    seed: int
    random: Callable[[int], Network] | None
    positive: tuple[str, ...] = ()
    shown: pl.DataFrame | None = None
    patches: PatchRun | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """What models gave for the test split, before any score over samples; maps: the headline method's first.

    random: maps of networks with random weights by method. validation: probabilities of the validation split.
    occlusions: one per variant. faithful: curves by method, of the samples at positions `followed` of the test split.
    marks: a detector's. trained: as `pathology_scores`. flips: mean probabilities over flips. None: there are none.
    """

    predictions: Explained
    validation: NDArray[np.float32]
    maps: list[ScoredMaps]
    dealt: list[Dealt]
    random: dict[str, ScoredMaps]
    occlusions: list[Occlusions]
    swaps: Swaps
    faithful: dict[str, Curves]
    followed: NDArray[np.int64]
    randomisations: pl.DataFrame
    cases: Cases | None = None
    marks: Marks | None = None
    trained: NDArray[np.float32] | None = None
    flips: NDArray[np.float32] | None = None


def evaluate(
    model: Network,
    given: EvaluationInputs,
    device: str,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict, explain, score and audit the test split; tune thresholds on the validation split.

    Every method of the configuration is run for the predicted and the true class, on some lesions only where it needs
    many passes, and so are baselines, random weights among them. Then the occlusion test in three variants and the swap
    test over every test lesion, and faithfulness and weight randomisation over some. Intervals are bootstraps by
    patient, the same resamples for every score. cache: folder of stored features; `progress` is called with (done,
    total) samples, all passes counting. ValueError where the test split is empty, the training split has no lesion, or
    `positive` names no class with lesions; EvaluationError where maps have one cell, or an output is not finite.
    """
    with float32():
        measured = _measured(model, given, device, cache, progress)
    return _frames(given, measured)


def evaluate_detector(model: Detector, given: EvaluationInputs, device: str) -> Evaluation:
    """The same of a detector: its surest malignant mark is the film's probability, its boxes are the map."""
    inputs = Inputs(given.samples, given.normalise, torch.device(device))
    malignant = len(given.samples.classes) - 1 if model.classes > 1 else None
    with float32():
        found, marks = detector_outputs(model, inputs, inputs.rows("test"), malignant)
        tuning, _ = detector_outputs(model, inputs, inputs.rows("validation"), malignant)
    return evaluate_outputs(found, tuning, given, marks)


def evaluate_outputs(
    found: Explained, tuning: Explained, given: EvaluationInputs, marks: Marks | None = None
) -> Evaluation:
    """What can be computed of predictions and maps alone, of the test split (`found`) and the validation split.

    Missing is what needs the model: occlusion, swap, faithfulness, weight randomisation and the baseline of random
    weights. marks: a detector's, of the test split.
    """
    split = evaluated_split(Inputs(given.samples, given.normalise, torch.device("cpu")), given.evaluation)
    split = replace(split, few=frozenset([*split.rows, *split.validation_rows]))  # every map was given
    maps = scored_methods(split, found, tuning)
    nothing = Swaps(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, len(split.test.classes)), np.float32))
    every = [*maps, *constant_baselines(split), *film_maps(split, given.patches), ceiling(split, _shape(maps[0]))]
    correct, scaling = np.equal(found.predicted, split.test.labels), given.evaluation.scaling
    dealt = dealt_maps(split.test, correct, maps, scaling, np.random.default_rng(given.seed))
    none, followed = pl.DataFrame(schema=FRAMES["randomisations"]), np.zeros(0, np.int64)
    return _frames(
        given, _Measured(found, tuning.probabilities, every, dealt, {}, [], nothing, {}, followed, none, None, marks)
    )


def _measured(
    model: Network,
    given: EvaluationInputs,
    device: str,
    cache: Path | None,
    progress: Callable[[int, int], None] | None,
) -> _Measured:
    evaluation = given.evaluation
    inputs = Inputs(given.samples, given.normalise, torch.device(device))
    split = evaluated_split(inputs, evaluation, given.seed)
    drawn = drawn_lesions(inputs, evaluation.randomisation_samples, np.random.default_rng(given.seed))
    followed = np.searchsorted(split.rows, drawn)
    tuning = len(split.validation_rows) + len(split.tuning_rows)
    advance = counter(progress, (2 + AUDITS) * len(split.rows) + tuning + len(drawn) * (1 + len(layers(model))))
    stored = None
    if cache and isinstance(model, Classifier):
        stored = FeatureCache(cache, inputs).deepest(model.to(device).eval())
    predictions, validation, maps = model_maps(model, split, evaluation.methods, TARGETS, advance, stored)
    top = ceiling(split, _shape(maps[0]))
    correct, scaling = np.equal(predictions.predicted, split.test.labels), evaluation.scaling
    dealt = dealt_maps(split.test, correct, maps, scaling, np.random.default_rng(given.seed))
    random = random_weights(given.random, split, evaluation.methods, advance) if given.random else {}
    baselines = [*list(random.values())[:1], *constant_baselines(split), *film_maps(split, given.patches)]
    own = {m.method: m.grids[followed] for m in maps if m.target == "predicted" and m.grids is not None}
    occlusions, swaps, faithful, flips = _audits(model, given, split, predictions, followed, own, stored, advance)
    randomisations = pl.DataFrame(schema=FRAMES["randomisations"])
    if given.random is not None:
        randomisations = randomisation_test(model, given.random(0), inputs, drawn, evaluation, given.seed, advance)
    asked = binary.pathology_asked(given.samples, given.attributes, given.positive)
    seen = Source(inputs, inputs.rows("train"), stored)
    trained = explain(model, seen, evaluation, (), (), lambda _: None).probabilities if asked else None
    shown = cases(model, split, stored)
    audited = occlusions, swaps, faithful, followed, randomisations, shown, None, trained, flips
    return _Measured(predictions, validation, [*maps, *baselines, top], dealt, random, *audited)


def _shape(maps: ScoredMaps) -> tuple[int, int]:
    """Rows and columns of the model's maps. EvaluationError where they have one cell."""
    assert maps.grids is not None
    if maps.grids[0].size == 1:
        raise EvaluationError(
            "evaluate: the network's maps have one cell, so they cannot show where anything lies: choose larger "
            "samples (patches.size) or a network with a finer last block, such as a VGG"
        )
    return maps.grids.shape[1], maps.grids.shape[2]


def _audits(
    model: Network,
    given: EvaluationInputs,
    split: EvaluatedSplit,
    predictions: Explained,
    followed: NDArray[np.int64],
    maps: dict[str, NDArray[np.float32]],
    stored: Stored | None,
    advance: Callable[[int], None],
) -> tuple[list[Occlusions], Swaps, dict[str, Curves], NDArray[np.float32] | None]:
    """Occlusion in every variant, swap test, faithfulness of every method, flips. maps: of the samples `followed`."""
    alone = Inputs(split.test, split.inputs.mode, split.inputs.device)
    model = model.to(alone.device).eval()
    quick = fast(model, "block") if isinstance(model, Classifier) else model
    seeded = partial(np.random.default_rng, given.seed)
    intact, occlusions = intact_films(model, stored, alone, np.asarray(split.rows, dtype=np.int64)), []
    regions = {margin: lesion_regions(split.test, margin) for margin in {margin for _, margin in VARIANTS.values()}}
    for variant, (_, margin) in VARIANTS.items():
        occlusions.append(occlusion_test(quick, alone, regions[margin], seeded(), variant, intact))
        advance(len(split.rows))
    sides = binary.diagnosis_sides(split.test, binary.binary_views(given.samples, given.attributes, given.positive))
    swaps = swap_test(quick, alone, regions[VARIANTS["smooth"][1]], sides, seeded(), intact)
    advance(len(split.rows))
    faithful = faithfulness(quick, alone, followed, predictions.probabilities[followed], maps, seeded())
    advance(len(split.rows))
    if not given.evaluation.flips or not isinstance(model, Classifier):
        return occlusions, swaps, faithful, None
    return occlusions, swaps, faithful, over_flips(quick, alone, predictions.probabilities, model.views)


def _frames(given: EvaluationInputs, measured: _Measured) -> Evaluation:
    """Scores of the test split, one entry per frame of FRAMES."""
    test, evaluation, maps = given.samples.split("test"), given.evaluation, measured.maps
    confidence, dealt = evaluation.confidence, measured.dealt
    predicted, probabilities = measured.predictions.predicted, measured.predictions.probabilities
    correct = np.equal(predicted, test.labels)
    clusters = draw(test.patients, evaluation.resamples, np.random.default_rng(given.seed))
    compared = [maps[0], *(m for m in maps if m.is_baseline)]
    ious = {m.method: m.cut(evaluation.policy).iou for m in compared} | {"dealt_maps": dealt[0].iou[evaluation.policy]}
    calibration_error, reliability = calibration(probabilities, test.labels, clusters, confidence)
    dealt_rows, dealt_places = dealt_frames(test, dealt[0])
    predictions = {"sample_id": test.ids, "predicted": predicted, "probabilities": probabilities.tolist()}
    validation = given.samples.split("validation")
    views = binary.binary_views(given.samples, given.attributes, given.positive)
    frames = {
        "predictions": pl.DataFrame(predictions, schema=FRAMES["predictions"]),
        "validations": validation_scores(measured.validation, validation.labels),
        "maps": pl.concat([*(map_frame(test, m) for m in maps), dealt_rows]),
        "localizations": pl.concat(
            [*(localization_frame(test, m, nulls(m, dealt, measured.random)) for m in maps), dealt_places]
        ),
        "class_scores": class_scores(probabilities, test.labels, clusters, confidence),
        "confusion_intervals": confusion_intervals(probabilities, test.labels, clusters, confidence),
        "run_scores": pl.concat([calibration_error, *_run_scores(given, measured, clusters)]),
        "baseline_differences": baseline_differences(
            test, correct, maps, dealt, measured.random, evaluation.policy, clusters, confidence
        ),
        "subgroup_scores": subgroup_scores(test, given.attributes, correct, ious, clusters, confidence),
        "iou_curves": iou_curves(test, correct, maps, clusters, confidence),
        "quadrants": quadrants(test, correct, maps[0].scores.hit, clusters, confidence),
        "reliability": reliability,
        "operating_points": operating_points(
            (test, probabilities, breasts(test, given.attributes)),
            (validation, measured.validation, breasts(validation, given.attributes)),
            *(views, evaluation.resamples, confidence, given.seed),
        ),
        "occlusions": pl.concat(
            [pl.DataFrame(schema=FRAMES["occlusions"]), *(each.frame(test) for each in measured.occlusions)]
        ),
        "swaps": measured.swaps.frame(test),
        "randomisations": measured.randomisations,
        **mark_frames(given.samples, given.shown, measured.marks, maps, probabilities, evaluation, given.seed),
        "activation_precisions": activation_precisions(test, maps, measured.cases, clusters, confidence),
        **prototype_frames(test, given.samples.ids, given.samples.labels, measured.cases, clusters, confidence),
    }
    return Evaluation(frames)


def _run_scores(given: EvaluationInputs, measured: _Measured, clusters: Clusters) -> list[pl.DataFrame]:
    """Rows of the frame run_scores, but for the calibration error."""
    test, confidence, maps = given.samples.split("test"), given.evaluation.confidence, measured.maps
    probabilities = measured.predictions.probabilities
    correct = np.equal(measured.predictions.predicted, test.labels)
    views = binary.binary_views(given.samples, given.attributes, given.positive)
    few = Clusters(clusters.member[measured.followed], clusters.counts)
    return [
        classification_scores(test, probabilities, clusters, confidence),
        *binary.view_scores(views, probabilities, measured.flips, test.labels, clusters, confidence),
        binary.pathology_scores(measured.trained, probabilities, given.samples, given.attributes, clusters, confidence),
        localization_scores(test, correct, maps, clusters, confidence),
        dealt_scores(test, correct, measured.dealt[0], clusters, confidence),
        ceiling_shares(test, correct, maps, maps[-1], clusters, confidence),
        *(occlusion_scores(test, probabilities, each, clusters, confidence) for each in measured.occlusions[:1]),
        faithfulness_scores(measured.faithful, few, confidence),
        explained_scores(test, measured.predictions.predicted, measured.cases, clusters, confidence),
    ]
