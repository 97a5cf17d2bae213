"""Does the best classifier look at the lesion? Its score against the baselines, and the answer in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lesionlens.records import BASELINES, ReportData
from lesionlens.reporting.data import Model, Row, confidence, evaluated, frame, lookup, models, rows, shown
from lesionlens.reporting.formatting import counted, joined, number, p_value, with_interval

NAMES = {
    "whole_patch": "the whole patch",
    "centred_disc": "a centred disc",
    "mean_mask": "the mean training mask",
    "random_weights": "random weights",
}
SOURCES = {
    "phantom": "synthetic mammograms",
    "cbis_kaggle": "CBIS-DDSM mammograms (Kaggle edition)",
    "cbis_dicom": "CBIS-DDSM mammograms (DICOM edition)",
    "manifest": "own images",
    "coco": "own images",
}
BETTER = "the maps of the best classifier fit the lesions better than"
Sign = Literal["above", "n.s.", "below"]
Kind = Literal["yes", "maps", "partly", "no", "not shown", "unknown"]


@dataclass(frozen=True, slots=True)
class Score:
    """A mean, or a mean paired difference, with its interval over `n` samples; None where there is none."""

    value: float | None
    low: float | None
    high: float | None
    n: int = 0

    @property
    def text(self) -> str:
        return with_interval(self.value, self.low, self.high)

    @property
    def sign(self) -> Sign | None:
        return None if self.value is None else sign(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Standing:
    """A baseline's score on the model's lesions, and the model's score minus it, paired by lesion."""

    baseline: str
    score: Score
    difference: Score

    @property
    def name(self) -> str:
        return NAMES[self.baseline]


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict in a sentence, and the sentences with its numbers.

    kind: `yes` (maps above every baseline, occlusion test above 0), `maps` (only the former), `partly` (above the
    whole patch and random weights), `no` (below a baseline), `not shown` (n.s.), `unknown` (no score or interval).
    """

    kind: Kind
    verdict: str
    sentences: tuple[str, ...]


def sign(low: float | None, high: float | None) -> Sign | None:
    """Where the interval of a difference lies: above 0, below 0, or n.s. where it includes 0; None without one."""
    if low is None or high is None:
        return None
    return "above" if low > 0 else "below" if high < 0 else "n.s."


def headline(data: ReportData, model: Model) -> Row | None:
    """The model's row of Table IV at the study's own method, target and threshold policy."""
    found = rows(data, "table_4_localization", run_id=model.run_id, headline=True)
    return found[0] if found else None


def score(row: Row, name: str = "") -> Score:
    """A score of a Table IV row: LL itself, or that of a baseline."""
    keys = (name, f"{name}_low", f"{name}_high") if name else ("ll", "low", "high")
    value, low, high = (row.get(key) for key in keys)
    return Score(value, low, high, row["n"] or 0)


def standings(data: ReportData, model: Model) -> tuple[Standing, ...]:
    """The model's headline score against every baseline that has a score."""
    row = headline(data, model)
    found = {r["baseline"]: r for r in rows(data, "baseline_differences", run_id=model.run_id, group_name="all")}
    placed = []
    for name in BASELINES if row else ():
        other, gap = score(row or {}, name), found.get(name, {})
        if other.value is not None:
            placed.append(Standing(name, other, Score(gap.get("difference"), gap.get("low"), gap.get("high"))))
    return tuple(placed)


def subtitle(data: ReportData) -> str:
    """What the report covers, in one line."""
    test = frame(data, "table_1_patches")["test"].sum() or 0
    parts = [
        counted(len(evaluated(data)), "evaluated model", "evaluated models"),
        counted(frame(data, "labels").height, "class", "classes"),
        counted(int(test), "test patch", "test patches"),
        SOURCES.get(str(lookup(data.study.get("config"), "data.source")), ""),
    ]
    return " · ".join(part for part in parts if part)


def ranked(data: ReportData) -> list[Model]:
    """The models shown, highest accuracy first."""
    return sorted(shown(data), key=lambda model: -(_accuracy(data, model)["accuracy"] or 0))


def answer(data: ReportData) -> Answer:
    """Which model classifies best, whether it looks at the lesion, and how certain that is."""
    order = ranked(data)
    if not order:
        total = len(models(data))
        found = f"{counted(total, 'run', 'runs')}, none of them evaluated yet." if total else "The study has no run."
        return Answer("unknown", "There is no answer yet.", (found,))
    best = order[0]
    sentences = [_best(data, best), *_second(data, order)]
    row = headline(data, best)
    if row is None:
        return Answer("unknown", "No activation map was scored.", tuple(sentences))
    ll, placed, occluded = score(row), standings(data, best), _occlusion(data, best)
    if ll.value is None:
        untuned = row["reason"] == "no_validation_lesions"
        why = "the validation split has no lesion to tune the threshold on" if untuned else "no lesion is correct"
        sentences.append(f"There is no localisation score: {why}.")
    else:
        sentences.append(
            f"Over the {counted(ll.n, 'lesion', 'lesions')} that it classifies correctly, its thresholded map overlaps "
            f"the annotation with a mean IoU of {ll.text}; 1 is a perfect match."
        )
        sentences.append(_against(placed))
    sentences += [*_occluded(occluded), *_common_lesions(data, best, order)]
    return Answer(*_verdict(ll, placed, occluded), tuple(sentences))


def _accuracy(data: ReportData, model: Model) -> Row:
    return rows(data, "table_2_accuracy", run_id=model.run_id)[0]


def _best(data: ReportData, best: Model) -> str:
    row, several = _accuracy(data, best), len(shown(data)) > 1
    which = "has the highest test accuracy of the models compared" if several else "is the only model evaluated"
    return (
        f"{best.title}, {which}: {_percent(row, confidence(data) + ' ')} of "
        f"{counted(row['n'], 'test patch', 'test patches')} in {frame(data, 'labels').height} classes."
    )


def _percent(row: Row, of: str = "") -> str:
    value, low, high = (None if row[key] is None else 100 * row[key] for key in ("accuracy", "low", "high"))
    if low is None or high is None:
        return f"{number(value, 0)}\u00a0%"
    return f"{number(value, 0)}\u00a0% ({of}{number(low, 0)} to {number(high, 0)}\u00a0%)"


def _second(data: ReportData, order: Sequence[Model]) -> list[str]:
    if len(order) < 2:
        return []
    best, second = order[:2]
    own, row = _accuracy(data, best), _accuracy(data, second)
    text = f"Second is {second.title} with {_percent(row)}"
    paired = _comparison(data, best, second)
    if paired is None:
        apart = own["low"] is not None and row["high"] is not None and own["low"] > row["high"]
        return [f"{text}; the two CIs {'do not overlap' if apart else 'overlap, so the order is uncertain'}."]
    # Both must agree: the interval holds for this pair alone, the corrected p value for all pairs of models shown.
    significant = paired["low"] > 0 and paired["p_holm"] is not None and paired["p_holm"] < 0.05
    return [
        f"{text}; the paired difference is {'significant' if significant else 'not significant'} "
        f"({number(paired['difference'], signed=True)}, {number(paired['low'])} to {number(paired['high'])}, "
        f"{p_value(paired['p_holm'])} after Holm correction)."
    ]


def _comparison(data: ReportData, first: Model, second: Model) -> Row | None:
    """The paired accuracies of two models, with the sign of first minus second."""
    for row in rows(data, "comparison", score="accuracy"):
        if (row["run_a"], row["run_b"]) == (first.run_id, second.run_id):
            return row
        if (row["run_b"], row["run_a"]) == (first.run_id, second.run_id):
            return row | {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
    return None


def _against(placed: Sequence[Standing]) -> str:
    """How the headline score compares with its baselines, paired by lesion."""
    words: dict[Sign, str] = {"above": "above", "n.s.": "not significantly different from", "below": "below"}
    groups = {key: [s for s in placed if s.difference.sign == key] for key in words}
    parts = [
        f"{words[key]} {joined([f'{s.name} ({number(s.score.value)})' for s in group])}"
        for key, group in groups.items()
        if group
    ]
    if parts:
        return f"Paired by lesion, it is {'; '.join(parts)}."
    if any(s.difference.value is not None for s in placed):
        return "All its lesions are of one patient, so that no difference from a baseline has a CI."
    return "The record holds no difference from a baseline; evaluate the study again."


def _occlusion(data: ReportData, best: Model) -> Score | None:
    found = rows(data, "occlusion_test", run_id=best.run_id, group_name="all")
    return Score(*(found[0][key] for key in ("difference", "difference_low", "difference_high"))) if found else None


def _occluded(found: Score | None) -> list[str]:
    if found is None or found.value is None or found.low is None or found.high is None:
        return []
    more = f"{found.text} more" if found.value >= 0 else f"{with_interval(-found.value, -found.high, -found.low)} less"
    ends: dict[Sign | None, str] = {"above": "the decision uses the lesion", "below": "the decision does not use it"}
    return [
        f"Occluding the lesion lowers the probability of the predicted class by {more} than occluding a control region "
        f"beside it: {ends.get(found.sign, 'this does not show that the decision uses the lesion')}."
    ]


def _common_lesions(data: ReportData, best: Model, order: Sequence[Model]) -> list[str]:
    """Means over different lesions cannot be compared; those over the lesions that all classify correctly can."""
    found = rows(data, "localization_scores", population="common_lesions", group_name="all")
    scores = {row["run_id"]: score(row) for row in found if row["ll"] is not None}
    if len(order) < 2 or any(model.run_id not in scores for model in order):
        return []
    own, top = scores[best.run_id], max(order, key=lambda model: scores[model.run_id].value or 0)
    where = f"Over the {counted(own.n, 'lesion', 'lesions')} that every run of the study classifies correctly"
    if top == best:
        return [f"{where}, its mean IoU is the highest: {own.text}."]
    return [f"{where}, {top.title} has the highest mean IoU: {scores[top.run_id].text}, against {own.text}."]


def _verdict(ll: Score, placed: Sequence[Standing], occluded: Score | None) -> tuple[Kind, str]:
    if ll.value is None:
        return "unknown", "Unknown: the best classifier has no localisation score."
    signs = {standing.baseline: standing.difference.sign for standing in placed}
    if not any(signs.values()):
        return "unknown", "Unknown: no difference from a baseline has a CI."
    worse = " or ".join(s.name for s in placed if s.difference.sign == "below")
    alike = " or ".join(s.name for s in placed if s.difference.sign in ("n.s.", None))
    if not worse and not alike:
        return _decision(occluded)
    if signs.get("whole_patch") == signs.get("random_weights") == "above":
        but = [f"less well than {worse}"] if worse else []
        but += [f"not significantly better than {alike}"] if alike else []
        return "partly", f"Partly: {BETTER} the whole patch and random weights, but {' and '.join(but)}."
    if worse:
        return "no", f"No: the maps of the best classifier fit the lesions less well than {worse}."
    return "not shown", f"Not shown: the maps of the best classifier are not significantly better than {alike}."


def _decision(occluded: Score | None) -> tuple[Kind, str]:
    """The verdict on maps above every baseline: overlap alone does not show that the decision uses the lesion."""
    if occluded is None or occluded.sign is None:
        return "maps", f"Its maps do: {BETTER} every baseline. Whether the decision uses the lesion was not tested."
    if occluded.sign == "above":
        return "yes", f"Yes: {BETTER} every baseline, and its decision uses the lesion."
    return "maps", (
        f"Its maps do: {BETTER} every baseline, but the occlusion test does not show that its decision uses the lesion."
    )
