"""Does a map say more than a map that ignores the image? The localisation score beside its baselines."""

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
VERDICTS = {
    "above": "clearly above",
    "over": "above",
    "same": "not told apart",
    "below": "below",
    "none": "no value",
}


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
class Standing:
    """A score beside one baseline. `verdict` is a key of VERDICTS."""

    baseline: str
    score: Score
    verdict: str

    @property
    def name(self) -> str:
        return NAMES[self.baseline]

    @property
    def words(self) -> str:
        return VERDICTS[self.verdict]


def verdict(score: Score, baseline: Score) -> str:
    """How a score's interval lies to a baseline.

    above: the intervals do not touch. over: the interval lies above the baseline's value, but the baseline's own
    interval reaches into it. same: the baseline's value is inside the interval. below: the interval lies under it.
    """
    if score.value is None or score.low is None or score.high is None or baseline.value is None:
        return "none"
    if score.low > (baseline.value if baseline.high is None else baseline.high):
        return "above"
    if score.low > baseline.value:
        return "over"
    return "same" if score.high >= baseline.value else "below"


def headline(data: ReportData, model: Model) -> Row | None:
    """The model's row of Table IV at the study's own method, target and threshold policy."""
    found = rows(data, "table_4_localization", run_id=model.run_id, headline=True)
    return found[0] if found else None


def score(row: Row, name: str = "") -> Score:
    """A score of a Table IV row: the LL itself, or one of its baselines."""
    keys = (name, f"{name}_low", f"{name}_high") if name else ("ll", "low", "high")
    value, low, high = (row.get(key) for key in keys)
    return Score(value, low, high, row["n"] or 0)


def standings(row: Row) -> tuple[Standing, ...]:
    """The score of a Table IV row beside every baseline that the record holds for it."""
    own = score(row)
    others = ((name, score(row, name)) for name in BASELINES)
    return tuple(Standing(name, other, verdict(own, other)) for name, other in others if other.value is not None)


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
        placed = tuple(Standing(n, o, verdict(own, o)) for n, o in others.items() if o is not None)
        result.append((group, own, placed))
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


def sentence(row: Row) -> str:
    """One plain sentence on how the score stands to its baselines."""
    own = score(row)
    if own.value is None:
        return "There is no localisation score: no lesion sample was classified correctly."
    groups: dict[str, list[str]] = {}
    for standing in standings(row):
        text = f"{standing.name} ({number(standing.score.value)})"
        groups.setdefault(standing.verdict, []).append(text)
    words = {
        "above": "lies clearly above",
        "over": "lies above the value of",
        "same": "cannot be told apart from",
        "below": "lies below",
    }
    parts = [f"{words[key]} {_listed(groups[key])}" for key in words if key in groups]
    return f"Its interval {'; it '.join(parts)}." if parts else "The record holds no baseline to set it against."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
