"""The decisions of every cell of a grid, from what the evaluations of its seeds stored sample by sample."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.audits.decision import DECISIONS, Occluded, Of, Score, Seed, Truth, area, decisions, rows_of
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.frames import Schema
from lesionlens.records import SampleArrays
from lesionlens.scoring.binary import View
from lesionlens.scoring.bootstrap import draw

CELL: Schema = {
    "backbone": pl.String, "strategy": pl.String, "batch_size": pl.Int32, "head_rate": pl.Float64,
    "unit1_rate": pl.Float64, "guidance": pl.String,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A study's evaluations as frames, each with evaluation_id.

    evaluations: the columns of CELL, seed; predictions: sample_id, probabilities; occlusions: sample_id and the columns
    of the frame of that name; swaps: sample_id, donor_id, probabilities; localizations: sample_id, method, iou,
    dealt_iou, random_iou (null where there is none) of the headline policy, predicted class, baselines and ceiling.
    """

    evaluations: pl.DataFrame
    predictions: pl.DataFrame
    occlusions: pl.DataFrame
    swaps: pl.DataFrame
    localizations: pl.DataFrame


def cell_decisions(
    stored: Stored,
    samples: SampleArrays,
    views: Mapping[str, View],
    evaluation: EvaluationConfig,
    seed: int,
    references: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> pl.DataFrame:
    """`decisions` of every cell, the columns of CELL first. samples: the whole set; views: as `binary_views` gives.

    references: by backbone the reference's probabilities of the test split, float32 [n, classes].
    """
    test, truth, frames = samples.split("test"), truth_of(samples, views), []
    for cell, rows in stored.evaluations.group_by(list(CELL), maintain_order=True):
        seeds = [seed_of(stored, number, test, evaluation) for number in rows["evaluation_id"]]
        found = decisions(truth, seeds, evaluation.resamples, evaluation.confidence, seed)
        if str(cell[0]) in references:
            found = pl.concat([found, over_reference(truth, seeds, references[str(cell[0])], evaluation, seed)])
        keys = [pl.lit(value, dtype=kind).alias(name) for value, (name, kind) in zip(cell, CELL.items(), strict=True)]
        frames.append(found.select(*keys, pl.all()))
    return pl.concat([pl.DataFrame(schema=CELL | DECISIONS), *frames])


def over_reference(
    truth: Truth, seeds: Sequence[Seed], reference: NDArray[np.float32], evaluation: EvaluationConfig, seed: int
) -> pl.DataFrame:
    """Rows of DECISIONS, variant 'reference': auc_reference, and auc_over_reference, the networks' AUC minus it.

    Of the questions detection and diagnosis, over the same samples, resamples and seeds as the other decisions.
    """
    generator = np.random.default_rng(seed)
    clusters, everyone = draw(truth.patients, evaluation.resamples, generator), np.ones(len(truth.labels), np.bool_)
    weights = generator.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=evaluation.resamples)
    asked: dict[str, Callable[[Of, NDArray[np.float32]], Score]] = {}
    if not np.isin(truth.labels, truth.lesion_labels).all():
        asked["detection"] = lambda of, p: area(
            p[:, truth.lesion_labels].sum(axis=1), truth.is_lesion, everyone, of.clusters
        )
    if len(truth.lesion_labels) > 1:
        asked["diagnosis"] = lambda of, p: of.auc(p, of.lesions, truth.labels)
    rows = []
    for question, score in asked.items():
        found = []
        for one in seeds:
            of = Of(truth, one, clusters, everyone)
            own, other = score(of, one.probabilities), score(of, reference)
            found.append([("reference", "auc_reference", other), ("reference", "auc_over_reference", own.minus(other))])
        rows += rows_of({"question": question, "group_name": None}, found, weights / len(seeds), evaluation.confidence)
    return pl.DataFrame(rows, schema=DECISIONS, orient="row")


def probabilities_of(stored: Stored, test: SampleArrays) -> dict[int, NDArray[np.float32]]:
    """Probabilities of the test samples in their order, float32 [n, classes], by evaluation."""
    ids = pl.DataFrame({"sample_id": test.ids})
    return {
        int(str(number)): _matrix(
            ids.join(part, on="sample_id", maintain_order="left")["probabilities"], len(test.classes)
        )
        for (number,), part in stored.predictions.group_by("evaluation_id", maintain_order=True)
    }


def truth_of(samples: SampleArrays, views: Mapping[str, View]) -> Truth:
    """What is known of the test split. samples: the whole set; views: as `binary_views` gives."""
    test = samples.split("test")
    lesion_labels = [int(label) for label in np.unique(samples.labels[samples.has_mask])]
    positive = views["malignant"][0] if "malignant" in views else []
    groups = np.array(test.groups)[test.labels]
    return Truth(test.labels, test.patients, groups, test.has_mask, lesion_labels, positive)


def seed_of(stored: Stored, evaluation_id: int, test: SampleArrays, evaluation: EvaluationConfig) -> Seed:
    """One evaluation of the test split, in the order of its samples."""
    ids = pl.DataFrame({"sample_id": test.ids})

    def of(frame: pl.DataFrame) -> pl.DataFrame:
        return ids.join(frame, on="sample_id", how="left", maintain_order="left")

    mine = {name: getattr(stored, name).filter(evaluation_id=evaluation_id) for name in ("occlusions", "localizations")}
    predictions = stored.predictions.filter(evaluation_id=evaluation_id)
    classes = len(test.classes)
    occlusions = {
        str(variant): _occluded(of(part), classes) for (variant,), part in mine["occlusions"].group_by("variant")
    }
    nothing = _occluded(of(stored.occlusions.clear()), classes)
    located = {str(method): of(part).fill_null(np.nan) for (method,), part in mine["localizations"].group_by("method")}
    own: dict[str, dict[str, NDArray[np.float64]]] = {
        method: {name: located[method][column].to_numpy() for name, column in OWN.items()}
        for method in evaluation.methods
    }
    swaps = stored.swaps.filter(evaluation_id=evaluation_id)
    return Seed(
        _matrix(of(predictions)["probabilities"], classes),
        {variant: occlusions.get(variant, nothing) for variant in ("smooth", "texture", "wide")},
        np.searchsorted(test.ids, swaps["sample_id"].to_numpy()),
        np.searchsorted(test.ids, swaps["donor_id"].to_numpy()),
        _matrix(swaps["probabilities"], classes),
        {method: part["iou"].to_numpy() for method, part in located.items()},
        evaluation.methods,
        own,
    )


def _occluded(rows: pl.DataFrame, classes: int) -> Occluded:
    numbers = {name: rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in NUMBERS}
    lesion, control = (_matrix(rows[f"{name}_probabilities"], classes) for name in ("lesion", "control"))
    return Occluded(lesion, control, numbers["lesion_change"], numbers["control_change"], numbers["places"])


OWN = {"dealt_maps": "dealt_iou", "random_weights": "random_iou"}
"""Baselines that are of the same method, and their columns."""
NUMBERS = ("lesion_change", "control_change", "places")


def _matrix(lists: pl.Series, classes: int) -> NDArray[np.float32]:
    """float32 [n, classes]; NaN rows where the list is null."""
    rows = [[np.nan] * classes if row is None else row for row in lists.to_list()]
    return np.array(rows, dtype=np.float32).reshape(-1, classes)
