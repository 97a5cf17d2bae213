"""Does a map say more than a map that ignores the image? The localisation score beside its baselines."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.models import Model, Row, frame, rows
from lesionlens.reporting.wording import number, spoken

BASELINES = ("whole_patch", "centred_disc", "mean_mask", "random_weights")
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
