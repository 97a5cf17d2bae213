"""Does the best classifier look at the lesion? Its score beside the baselines, and the answer in words."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from lesionlens.records import BASELINES, ReportData
from lesionlens.reporting.data import Model, Row, confidence, evaluated, frame, lookup, models, rows, shown
from lesionlens.reporting.formatting import counted, number, p_value, spoken

NAMES = {
    "whole_patch": "the whole patch",
    "centred_disc": "a centred disc",
    "mean_mask": "the mean training mask",
    "random_weights": "random weights",
}
NO_LESION = "no lesion sample was classified correctly"
ONE_PATIENT = "Its lesions are of one patient, so no difference from a baseline has an interval."
NO_DIFFERENCE = "The record holds no difference from a baseline; evaluate the study again."
VERDICTS = {"above": "above", "same": "not told apart", "below": "below", "none": "no difference"}


@dataclass(frozen=True, slots=True)
class Score:
    """A mean IoU with its interval over `n` samples; None where there is nothing to average."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def spoken(self) -> str:
        return spoken(self.value, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean paired difference of IoU with its interval; None where there is none."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """How the interval lies to 0, a key of VERDICTS."""
        if self.value is None or self.low is None or self.high is None:
            return "none"
        return "above" if self.low > 0 else "below" if self.high < 0 else "same"


@dataclass(frozen=True, slots=True)
class Standing:
    """A score beside one baseline: the baseline's own score, and the paired difference on the same lesions."""

    baseline: str
    score: Score
    difference: Difference

    @property
    def name(self) -> str:
        return NAMES[self.baseline]

    @property
    def verdict(self) -> str:
        return self.difference.verdict


def headline(data: ReportData, model: Model) -> Row | None:
    """The model's row of Table IV at the study's own method, target and threshold policy."""
    found = rows(data, "table_4_localization", run_id=model.run_id, headline=True)
    return found[0] if found else None


def score(row: Row, name: str = "") -> Score:
    """A score of a Table IV row: the LL itself, or one of its baselines."""
    keys = (name, f"{name}_low", f"{name}_high") if name else ("ll", "low", "high")
    value, low, high = (row.get(key) for key in keys)
    return Score(value, low, high, row["n"] or 0)


def standings(data: ReportData, model: Model) -> tuple[Standing, ...]:
    """The model's headline score beside every baseline that the record holds for it."""
    row = headline(data, model)
    others = {name: score(row, name) for name in BASELINES} if row else {}
    return _placed(data, model, "all", {name: other for name, other in others.items() if other.value is not None})


def _placed(data: ReportData, model: Model, group: str, others: Mapping[str, Score]) -> tuple[Standing, ...]:
    key = {"headline": True, "population": "correct_lesions", "group_name": group}
    found = {row["baseline"]: row for row in rows(data, "baseline_differences", run_id=model.run_id, **key)}
    placed = []
    for name, other in others.items():
        row = found.get(name, {})
        gap = Difference(*(row.get(key) for key in ("difference", "low", "high")))
        placed.append(Standing(name, other, gap))
    return tuple(placed)


def by_group(data: ReportData, model: Model) -> tuple[tuple[str, Score, tuple[Standing, ...]], ...]:
    """(label group, score, baselines) over the group's correctly classified lesions, pooled ones left out."""
    row = headline(data, model)
    if row is None:
        return ()
    found = frame(data, "run_scores").filter(
        (pl.col("run_id") == model.run_id)
        & (pl.col("name") == "ll")
        & (pl.col("population") == "correct_lesions")
        & (pl.col("group_name") != "all")
    )
    result = []
    for group in found["group_name"].unique(maintain_order=True).to_list():
        of_group = found.filter(pl.col("group_name") == group).to_dicts()
        own = _one(of_group, row["method"], row["target"], row["policy"])
        if own is None:
            continue
        others = {name: _baseline(of_group, name, row["policy"]) for name in BASELINES}
        known = {name: other for name, other in others.items() if other is not None}
        result.append((group, own, _placed(data, model, group, known)))
    return tuple(result)


def _baseline(found: list[Row], name: str, policy: str) -> Score | None:
    if name == "random_weights":
        return _one(found, name, "predicted", policy)
    return _one(found, name, "none", "mask")


def _one(found: list[Row], method: str, target: str, policy: str) -> Score | None:
    for row in found:
        if (row["method"], row["target"], row["policy"]) == (method, target, policy) and row["value"] is not None:
            return Score(row["value"], row["low"], row["high"], row["n"])
    return None


def sentence(data: ReportData, model: Model) -> str:
    """One plain sentence on how the headline score stands to its baselines."""
    row = headline(data, model)
    if row is None or score(row).value is None:
        untuned = row is not None and row["reason"] == "no_validation_lesions"
        why = "the validation split has no lesion to tune the threshold on" if untuned else NO_LESION
        return f"There is no localisation score: {why}."
    groups: dict[str, list[str]] = {}
    placed = standings(data, model)
    for standing in placed:
        text = f"{standing.name} ({number(standing.score.value)})"
        groups.setdefault(standing.verdict, []).append(text)
    words = {"above": "lies above", "same": "cannot be told apart from", "below": "lies below"}
    parts = [f"{words[key]} {_listed(groups[key])}" for key in words if key in groups]
    if parts:
        return f"Lesion by lesion, it {'; it '.join(parts)}."
    return ONE_PATIENT if any(standing.difference.value is not None for standing in placed) else NO_DIFFERENCE


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A short verdict and the sentences that carry it."""

    verdict: str
    sentences: tuple[str, ...]


def answer(data: ReportData) -> Answer:
    """Which model classifies best, whether it looks at the lesion, and how sure that is."""
    order = ranked(data)
    if not order:
        total = len(models(data))
        found = f"The record holds {counted(total, 'run', 'runs')}, none of them evaluated yet"
        return Answer("There is no answer yet.", (f"{found if total else 'The study has no run'}.",))
    best = order[0]
    own = headline(data, best)
    sentences = [_best(data, best), *_runner_up(data, order)]
    if own is None:
        return Answer("No activation map was scored.", tuple(sentences))
    ll = score(own)
    if ll.value is not None:
        where = counted(ll.n, "lesion", "lesions")
        sentences.append(
            f"Over the {where} it classifies correctly, the region that its map marks overlaps the annotation "
            f"with a mean IoU of {ll.spoken}, where 1 would be a perfect outline."
        )
    erased = _erase_test(data, best)
    sentences += [sentence(data, best), *_erased(erased), *_other_localiser(data, best, order)]
    return Answer(_verdict(data, best, ll, erased), tuple(sentences))


def ranked(data: ReportData) -> list[Model]:
    """The models shown, highest accuracy first."""
    return sorted(shown(data), key=lambda model: -(_accuracy(data, model)["accuracy"] or 0))


def _accuracy(data: ReportData, model: Model) -> Row:
    return rows(data, "table_2_accuracy", run_id=model.run_id)[0]


def _best(data: ReportData, best: Model) -> str:
    row = _accuracy(data, best)
    chance = frame(data, "labels").height
    among = "Of the models compared" if len(shown(data)) > 1 else "The only model"
    which = "has the highest test accuracy" if len(shown(data)) > 1 else "was evaluated"
    return (
        f"{among}, {best.title}, {which}: it names the right one of {chance} classes for {_percent(row)} of "
        f"{counted(row['n'], 'test patch', 'test patches')} (intervals are {confidence(data)})."
    )


def _percent(row: Row) -> str:
    value, low, high = (None if row[key] is None else 100 * row[key] for key in ("accuracy", "low", "high"))
    if low is None or high is None:
        return f"{number(value, 0)}\u00a0%"
    return f"{number(value, 0)}\u00a0% ({number(low, 0)} to {number(high, 0)}\u00a0%)"


def _runner_up(data: ReportData, order: list[Model]) -> list[str]:
    if len(order) < 2:
        return []
    best, second = order[:2]
    row = _accuracy(data, second)
    text = f"Next comes {second.title} with {_percent(row)}"
    paired = _comparison(data, best, second)
    if paired is not None:
        # Both must agree: the interval holds for this pair alone, the corrected p value for all pairs of models shown.
        distinct = paired["low"] > 0 and paired["p_holm"] is not None and paired["p_holm"] < 0.05
        clear = "a clear difference" if distinct else "no clear difference"
        return [
            f"{text}: {clear} on the same patches "
            f"({number(paired['difference'], signed=True)}, {number(paired['low'])} to {number(paired['high'])}, "
            f"{p_value(paired['p_holm'])} corrected for the number of comparisons)."
        ]
    own = _accuracy(data, best)
    apart = own["low"] is not None and row["high"] is not None and own["low"] > row["high"]
    return [f"{text}; the two intervals {'do not overlap' if apart else 'overlap, so the order is not certain'}."]


def _comparison(data: ReportData, first: Model, second: Model) -> Row | None:
    """The paired accuracies of two models, with the sign of first minus second."""
    a, b = (_accuracy(data, model)["evaluation_id"] for model in (first, second))
    for row in rows(data, "comparison", score="accuracy"):
        if (row["evaluation_a"], row["evaluation_b"]) == (a, b):
            return row
        if (row["evaluation_a"], row["evaluation_b"]) == (b, a):
            return row | {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
    return None


def _erase_test(data: ReportData, best: Model) -> Difference | None:
    found = rows(data, "occlusion_test", run_id=best.run_id, population="correct_lesions", group_name="all")
    if not found:
        return None
    return Difference(*(found[0][key] for key in ("difference", "difference_low", "difference_high")))


def _erased(erased: Difference | None) -> list[str]:
    if erased is None or erased.value is None or erased.low is None or erased.high is None:
        return []
    value, low, high = erased.value, erased.low, erased.high
    moved = (
        f"falls by {spoken(value, low, high)} more" if value >= 0 else f"falls by {spoken(-value, -high, -low)} less"
    )
    shown_to = "uses the lesion" if low > 0 else "does not use the lesion" if high < 0 else ""
    end = f"the decision {shown_to}" if shown_to else "that does not show that the decision uses the lesion"
    said = f"With the lesion erased, the probability of its answer {moved} than with as much tissue erased beside it"
    return [f"{said}: {end}."]


def _other_localiser(data: ReportData, best: Model, order: list[Model]) -> list[str]:
    """Means over different lesions cannot be compared; those over the lesions that all classify correctly can."""
    key = {"headline": True, "population": "common_lesions", "group_name": "all"}
    found = {row["run_id"]: score(row) for row in rows(data, "localization_scores", **key) if row["ll"] is not None}
    if len(order) < 2 or any(model.run_id not in found for model in order):
        return []
    own, top = found[best.run_id], max(order, key=lambda model: found[model.run_id].value or 0)
    where = f"Over the {counted(own.n, 'lesion', 'lesions')} that every run of the study classifies correctly"
    if top == best:
        return [f"{where}, no other model's maps overlap more: its own mean IoU is {own.spoken}."]
    theirs = found[top.run_id]
    return [f"{where}, the highest mean IoU is that of {top.title}: {theirs.spoken}; its own is {own.spoken}."]


def _verdict(data: ReportData, best: Model, ll: Score, erased: Difference | None) -> str:
    placed = standings(data, best)
    if ll.value is None:
        return "It cannot be said whether the model looks at the lesion."
    if all(standing.verdict == "none" for standing in placed):
        return "Whether the model looks at the lesion stays open: there is no difference from a baseline."
    beaten = {standing.baseline for standing in placed if standing.verdict == "above"}
    worse = [standing for standing in placed if standing.verdict == "below"]
    alike = [standing for standing in placed if standing.verdict in ("same", "none")]
    if not worse and not alike:
        return _needed(erased)
    if {"whole_patch", "random_weights"} <= beaten:
        said = [f"fit the lesions less well than {_names(worse)}"] if worse else []
        said += [f"cannot be told apart from {_names(alike)}"] if alike else []
        return f"Partly: the best classifier's maps beat chance, but {' and '.join(said)}."
    if worse:
        return f"No: the best classifier's maps fit the lesions less well than {_names(worse)}."
    return (
        "It could not be shown that the best classifier looks at the lesion: its maps cannot be told apart from "
        f"{_names(alike)}."
    )


def _needed(erased: Difference | None) -> str:
    """The verdict on maps above every baseline: overlap alone does not show that the decision needs the lesion."""
    fit = "the best classifier's maps fit the lesions better than any baseline"
    if erased is None or erased.verdict == "none":
        return f"Its maps do: {fit}. Whether its decision needs the lesion was not tested."
    if erased.verdict == "above":
        return f"Yes: {fit}, and its decision uses the lesion."
    return f"Its maps do: {fit}, but erasing the lesion does not show that its decision uses it."


def _names(missed: list[Standing]) -> str:
    return " or ".join(standing.name for standing in missed)


def subtitle(data: ReportData) -> str:
    """What the report covers, in one line."""
    labels = frame(data, "labels")
    test = frame(data, "table_1_patches")["test"].sum() or 0
    source = lookup(data.study.get("config"), "data.source")
    kinds = {
        "phantom": "synthetic mammograms",
        "cbis_kaggle": "CBIS-DDSM mammograms (Kaggle edition)",
        "cbis_dicom": "CBIS-DDSM mammograms (DICOM edition)",
        "manifest": "own images",
    }
    parts = [
        counted(len(evaluated(data)), "evaluated model", "evaluated models"),
        counted(labels.height, "class", "classes"),
        counted(int(test), "test patch", "test patches"),
        kinds.get(str(source), ""),
    ]
    return " · ".join(part for part in parts if part)
