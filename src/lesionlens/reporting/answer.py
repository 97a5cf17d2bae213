"""The answer first: one paragraph from numbers."""

from dataclasses import dataclass

from lesionlens.records import ReportData
from lesionlens.reporting.localization import Difference, Score, Standing, headline, score, sentence, standings
from lesionlens.reporting.models import Model, Row, confidence, evaluated, frame, lookup, models, rows, shown
from lesionlens.reporting.wording import counted, number, p_value, spoken


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
