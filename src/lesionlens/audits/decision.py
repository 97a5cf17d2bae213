"""What a cell's decisions rest on: detection, diagnosis, accuracy and maps of all its seeds, with intervals."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.audits.occlusion import PLACES
from lesionlens.frames import INTERVAL, Schema
from lesionlens.records import CEILING
from lesionlens.scoring.binary import conditional
from lesionlens.scoring.bootstrap import Clusters, draw, interval, ratios, resampled_auc

DECISIONS: Schema = {
    "question": pl.String, "group_name": pl.String, "variant": pl.String, "measure": pl.String, "value": pl.Float64,
    **INTERVAL, "lesions": pl.Int64, "patients": pl.Int64, "seeds": pl.Int64, "reason": pl.String,
}  # fmt: skip
"""`lesions` counts samples; group_name null: all groups."""
SIGNED = re.compile("fall|over|difference")  # in names of measures: from -1 to 1; others from 0
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """labels int64 [n]; patients, groups str [n]; is_lesion bool [n]; lesion_labels, positive: ordinals of all classes
    with lesions, and of those on the positive side (empty: no such side is known)."""

    labels: NDArray[np.int64]
    patients: NDArray[np.str_]
    groups: NDArray[np.str_]
    is_lesion: Flags
    lesion_labels: list[int]
    positive: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Occluded:
    """One variant of the occlusion test: lesion, control [n, classes], lesion_change, control_change, places [n]; NaN
    where there is none."""

    lesion: NDArray[np.float32]
    control: NDArray[np.float32]
    lesion_change: Floats
    control_change: Floats
    places: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """One run of the cell on the test split.

    probabilities [n, classes]; occlusions by variant; surroundings, donors int64 [k] and swapped [k, classes]; iou [n]
    of the headline maps by attribution method, of baselines and the ceiling by name (NaN where there is none); own, by
    method, of the baselines that are its own: its maps of other patients and of random weights.
    """

    probabilities: NDArray[np.float32]
    occlusions: Mapping[str, Occluded]
    surroundings: NDArray[np.int64]
    donors: NDArray[np.int64]
    swapped: NDArray[np.float32]
    iou: Mapping[str, Floats]
    methods: tuple[str, ...]
    own: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """One seed's score: value, resampled [resamples], n samples of so many patients."""

    value: float
    resampled: Floats
    n: int
    patients: int

    def minus(self, other: "Score") -> "Score":
        """The paired difference: both come from the same resamples."""
        return Score(self.value - other.value, self.resampled - other.resampled, self.n, self.patients)


Measures = Iterator[tuple[str, str, Score]]
"""Variant, measure, score."""


class Of:
    """Scores of one seed within one group. inside bool [n]: the samples of the group."""

    def __init__(self, split: Truth, seed: Seed, clusters: Clusters, inside: Flags) -> None:
        self.split, self.seed, self.clusters, self.inside = split, seed, clusters, inside
        self.lesions = split.is_lesion & inside

    def mean(self, values: Floats, used: Flags) -> Score:
        known = (used & ~np.isnan(values))[:, None]
        resampled = ratios(values[:, None], known, self.clusters)[:, 0]
        count = int(known.sum())
        value = float(values[known[:, 0]].mean()) if count else float("nan")
        return Score(value, resampled, count, int(self.clusters.patients(known)[0]))

    def auc(self, probabilities: NDArray[np.float32], used: Flags, labels: NDArray[np.int64]) -> Score:
        """Of the positive side, or the mean over classes against the rest, among the lesion classes."""
        known = used & ~np.isnan(probabilities[:, 0])
        classes = [self.split.positive] if self.split.positive else [[c] for c in self.split.lesion_labels]
        found = []
        for positive in classes:
            score = conditional(np.nan_to_num(probabilities), positive, self.split.lesion_labels)
            found.append(area(score, np.isin(labels, positive), known, self.clusters))
        return mean_of(found)

    def right(self, probabilities: NDArray[np.float32]) -> Floats:
        """P(right side | lesion) [n]; NaN where the probabilities are."""
        sides = [self.split.positive, sorted(set(self.split.lesion_labels) - set(self.split.positive))]
        sides = sides if self.split.positive else [[c] for c in self.split.lesion_labels]
        found = np.full(len(self.split.labels), np.nan)
        for side in sides:
            own = np.isin(self.split.labels, side) & ~np.isnan(probabilities[:, 0])
            found[own] = conditional(probabilities[own], side, self.split.lesion_labels)
        return found

    def accurate(self, probabilities: NDArray[np.float32]) -> Floats:
        """Whether the most probable lesion class is the true one: 0 or 1, NaN where probabilities are."""
        best = np.array(self.split.lesion_labels)[
            np.nan_to_num(probabilities)[:, self.split.lesion_labels].argmax(axis=1)
        ]
        return np.where(np.isnan(probabilities[:, 0]), np.nan, best == self.split.labels)


def area(score: NDArray[np.float32], truth: Flags, used: Flags, clusters: Clusters) -> Score:
    """AUC of score [n] for truth [n] among the samples used [n]. patients: of the rarer side."""
    within = clusters.within(used)
    sides = np.stack([used & truth, used & ~truth], axis=1)
    once = Clusters(np.arange(int(used.sum())), np.ones((1, int(used.sum()))))
    value = float(resampled_auc(score[used], truth[used], once)[0])
    resampled = resampled_auc(score[used], truth[used], within)
    return Score(value, resampled, int(used.sum()), int(clusters.patients(sides).min()))


def mean_of(scores: Sequence[Score]) -> Score:
    """The mean of those that are defined."""
    known = [score for score in scores if not np.isnan(score.value)]
    if not known:
        return scores[0]
    value, resampled = np.mean([s.value for s in known]), np.mean([s.resampled for s in known], axis=0)
    return Score(float(value), resampled, known[0].n, min(s.patients for s in known))


def diagnosis(of: Of) -> Measures:
    """Which lesion is it? The lesion classes' probabilities renormalised, intact, lesion and control filled in."""
    labels, whole = of.split.labels, of.seed.probabilities
    for variant, occluded in of.seed.occlusions.items():
        used = of.lesions & ~np.isnan(occluded.lesion[:, 0])
        fair = used & ~np.isnan(occluded.control[:, 0])
        scored: dict[str, Callable[[NDArray[np.float32], Flags], Score]] = {
            "auc": lambda p, which: of.auc(p, which, labels)
        }
        if not of.split.positive:
            scored["accuracy"] = lambda p, which: of.mean(of.accurate(p), which)
        for name, score in scored.items():
            intact, lesion = score(whole, used), score(occluded.lesion, used)
            yield from ((variant, f"{name}_intact", intact), (variant, f"{name}_lesion", lesion))
            yield variant, f"{name}_fall", intact.minus(lesion)
            if variant == "smooth":
                control = score(occluded.control, fair)
                yield variant, f"{name}_control", control
                yield variant, f"{name}_control_fall", score(whole, fair).minus(control)
        right = of.right(whole)
        yield variant, "right_fall_lesion", of.mean(right - of.right(occluded.lesion), used)
        if variant == "smooth":
            yield variant, "right_fall_control", of.mean(right - of.right(occluded.control), fair)
            gap = of.right(occluded.control) - of.right(occluded.lesion)
            yield variant, "right_fall", of.mean(gap, fair)
    yield from _swapped(of)


def _swapped(of: Of) -> Measures:
    """AUC of swapped pictures by the label of the lesion and of the surroundings. A pair is of two patients, and counts
    as often as both were drawn (pigeonhole bootstrap, Owen 2007), which is wide rather than narrow."""
    seed, labels = of.seed, of.split.labels
    used = of.inside[seed.surroundings] & of.inside[seed.donors]
    if not used.any():
        return
    place, given = seed.surroundings[used], seed.donors[used]
    member = of.clusters.member
    pairs = of.clusters.pairs(member[place], member[given])
    found = {}
    for name, rows in (("lesion", given), ("surroundings", place)):
        apart = Of(of.split, seed, pairs, of.inside)
        score = apart.auc(seed.swapped[used], np.ones(len(rows), dtype=np.bool_), labels[rows])
        patients = len(np.unique(of.split.patients[rows]))
        found[name] = Score(score.value, score.resampled, score.n, patients)
        yield "swap", f"swap_{name}_auc", found[name]
    yield "swap", "swap_difference", found["lesion"].minus(found["surroundings"])


def detection(of: Of) -> Measures:
    """Is there a lesion? The probability of all lesion classes, intact, lesion and control filled in."""
    lesion_labels, whole = of.split.lesion_labels, of.seed.probabilities

    def told(p: NDArray[np.float32]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = p[:, lesion_labels].sum(axis=1, dtype=np.float64)
        return found

    without = ~of.split.is_lesion & ~np.isin(of.split.labels, lesion_labels)
    used = of.lesions | without
    yield "smooth", "auc_intact", area(told(whole).astype(np.float32), of.split.is_lesion, used, of.clusters)
    for variant, occluded in of.seed.occlusions.items():
        fall = told(whole) - told(occluded.lesion)
        yield variant, "fall_lesion", of.mean(fall, of.lesions)
        yield variant, "grey_lesion", of.mean(occluded.lesion_change, of.lesions)
        if variant == "smooth":
            beside = told(whole) - told(occluded.control)
            yield variant, "fall_control", of.mean(beside, of.lesions)
            yield variant, "fall", of.mean(fall - beside, of.lesions)
            yield variant, "grey_control", of.mean(occluded.control_change, of.lesions)


def controls(of: Of) -> Measures:
    """How many lesions have no fair control, and how many places the others have, as a proportion of 16."""
    places = of.seed.occlusions["smooth"].places
    yield "smooth", "unfair", of.mean(np.where(np.isnan(places), np.nan, places == 0), of.lesions)
    yield "smooth", "places", of.mean(places / PLACES, of.lesions)


def classification(of: Of) -> Measures:
    """Accuracy over all classes, beside that of always naming the most frequent class."""
    labels = of.split.labels
    right = (of.seed.probabilities.argmax(axis=1) == labels).astype(np.float64)
    often = (labels == np.bincount(labels[of.inside]).argmax()).astype(np.float64)
    accuracy, majority = of.mean(right, of.inside), of.mean(often, of.inside)
    yield from (("all", "accuracy", accuracy), ("all", "majority", majority))
    yield "all", "accuracy_over_majority", accuracy.minus(majority)


def localization(of: Of) -> Measures:
    """LL of every method over the correctly classified lesions that it explains, and its difference to every baseline;
    the same of the ceiling."""
    correct = of.seed.probabilities.argmax(axis=1) == of.split.labels
    shared = {name: iou for name, iou in of.seed.iou.items() if name not in (*of.seed.methods, CEILING)}
    top = of.seed.iou[CEILING]
    for method in of.seed.methods:
        iou = of.seed.iou[method]
        used = of.lesions & correct & ~np.isnan(iou)
        yield method, "ll", of.mean(iou, used)
        yield method, "ceiling", of.mean(top, used)
        for name, other in (shared | dict(of.seed.own.get(method, {}))).items():
            yield method, f"over_{name}", of.mean(iou - other, used)
            yield method, f"ceiling_over_{name}", of.mean(top - other, used)


def decisions(split: Truth, seeds: Sequence[Seed], resamples: int, confidence: float, seed: int) -> pl.DataFrame:
    """All measures of a cell (DECISIONS): means over its seeds, for all groups and every label group.

    Intervals are bootstraps over patients and, within every resample, over seeds (two levels): a strategy is not one
    training. With one seed they hold for that one set of weights. Questions: 'class', 'detection' (where there is a
    class without lesions), 'diagnosis' (where there are two classes with lesions) and 'localization'.
    """
    generator = np.random.default_rng(seed)
    clusters = draw(split.patients, resamples, generator)
    weights = generator.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=resamples) / len(seeds)
    asked: dict[str, list[Callable[[Of], Measures]]] = {"class": [classification], "localization": [localization]}
    if not np.isin(split.labels, split.lesion_labels).all():
        asked["detection"] = [detection, controls]
    if len(split.lesion_labels) > 1:
        asked["diagnosis"] = [diagnosis] if "detection" in asked else [diagnosis, controls]
    rows = []
    for group in (None, *np.unique(split.groups)):
        inside = np.ones(len(split.labels), dtype=np.bool_) if group is None else split.groups == group
        for question, functions in asked.items():
            if question == "class" or (inside & split.is_lesion).any():
                found = [[m for f in functions for m in f(Of(split, one, clusters, inside))] for one in seeds]
                rows += rows_of({"question": question, "group_name": group}, found, weights, confidence)
    return pl.DataFrame(rows, schema=DECISIONS, orient="row")


def rows_of(
    key: dict[str, str | None], found: list[list[tuple[str, str, Score]]], weights: Floats, confidence: float
) -> list[dict[str, object]]:
    """Rows of one question and group from the same measures of every seed. weights [resamples, seeds]: of each."""
    rows = []
    for scores in zip(*found, strict=True):
        variant, measure, first = scores[0]
        each = [score for _, _, score in scores]
        value = float(np.mean([score.value for score in each]))
        resampled = (np.stack([score.resampled for score in each], axis=1) * weights).sum(axis=1)
        patients = min(score.patients for score in each)
        low, high = interval(resampled[:, None], confidence, patients, -1.0 if SIGNED.search(measure) else 0.0)
        why = None if np.isfinite(low[0]) else "one_patient"
        if np.isnan(value):
            why = "no_samples" if first.n == 0 else "no_other_class"
        numbers = [None if np.isnan(x) or np.isnan(value) else float(x) for x in (value, low[0], high[0])]
        counts = {"lesions": min(score.n for score in each), "patients": patients, "seeds": len(each), "reason": why}
        ends = dict(zip(("value", "low", "high"), numbers, strict=True))
        rows.append(key | {"variant": variant, "measure": measure} | ends | counts)
    return rows
