"""The answer as page, terminal and Prefect show it: the stored rows, the numbers beside them, three example maps."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from lesionlens.records import BASELINES, ReportData
from lesionlens.reporting.data import (
    Model,
    Row,
    Score,
    compared,
    confidence,
    evaluated,
    frame,
    headline,
    models,
    rows,
    samples_tested,
    score,
    shown,
    split_uses,
)
from lesionlens.reporting.findings import Evidence
from lesionlens.reporting.formatting import METHODS, counted, number, p_value
from lesionlens.reporting.verdict import by_method, chosen, held

QUESTIONS = {"detection": "Detection: lesion or not?", "diagnosis": "Diagnosis: which lesion?"}


def found_answers(data: ReportData) -> tuple[tuple[str, list[Row]], ...]:
    """Each question in words, with its stored rows: all lesions first, then every group."""
    found = frame(data, "answers")
    return tuple(
        (words, of_question)
        for question, words in QUESTIONS.items()
        if (of_question := found.filter(question=question).sort("group_name", nulls_last=False).to_dicts())
    )


def verdict(data: ReportData) -> str:
    """`Detection: yes. Diagnosis: not shown.`, or why there is no answer."""
    whole = frame(data, "answers").filter(pl.col("group_name").is_null())
    if whole.height:
        return " ".join(f"{row['question'].capitalize()}: {_short(row)}." for row in whole.iter_rows(named=True))
    if evaluated(data):
        return "No question can be answered: the classes are not of lesions."
    total = len(models(data))
    return f"No answer yet: {counted(total, 'run', 'runs')}, none of them evaluated." if total else "No run, no answer."


def _short(row: Row) -> str:
    untrusted = {"leak", "label_leak"} & set(row["reasons"])
    return f"{row['verdict']}{' (not to be trusted)' if untrusted else ''}"


def sentences(data: ReportData) -> tuple[str, ...]:
    """Which model the answer is about, its accuracy, what comes second, and its score over common lesions."""
    best = chosen(data)
    if best is None:
        return ()
    order = [best, *(model for model in ranked(data) if model != best)]
    found = [_best(data, best), *_second(data, order), *_localization(data, best), *_common_lesions(data, best, order)]
    if len(by_method(data)) > 1:
        found.append(held(data))
    return tuple(found)


def ranked(data: ReportData) -> list[Model]:
    """The models shown, highest accuracy first; those trained on annotations apart, behind the others."""
    return sorted(shown(data), key=lambda model: (model.guided, -(_accuracy(data, model)["accuracy"] or 0)))


def tiles(data: ReportData) -> list[dict[str, str]]:
    """Three numbers at one look, each with `title`, `value`, `interval` and `beside`; none without an answer."""
    best = chosen(data)
    if best is None:
        return []
    row, accuracy = headline(data, best) or {"n": 0}, _accuracy(data, best)
    ll = score(row)
    known = [(score(row, name), name) for name in BASELINES if score(row, name).value is not None]
    top = max(known, key=lambda pair: pair[0].value or 0, default=None)
    beside = f"{METHODS[top[1]]} {number(top[0].value)}" if top else "no baseline"
    found = Evidence(data, best.run_id, None)
    ceiling = found.score("localization", "ceiling", found.method).value
    beside += "" if ceiling is None else f", at most {number(ceiling)} on its grid"
    fall = rows(data, "occlusion_test", run_id=best.run_id, group_name="all")
    occluded = fall[0] if fall else {}
    return [
        _tile("Accuracy", Score(accuracy["accuracy"], accuracy["low"], accuracy["high"]), _beside_accuracy(data)),
        _tile(f"Overlap with the lesion (LL){', trained for' if best.guided else ''}", ll, beside),
        _tile(
            "Fall of probability without the lesion",
            Score(occluded.get("lesion_drop"), occluded.get("lesion_drop_low"), occluded.get("lesion_drop_high")),
            f"control region {number(occluded.get('control_drop'))}",
        ),
    ]


def _tile(title: str, own: Score, beside: str) -> dict[str, str]:
    ends = "" if own.low is None or own.high is None else f"{number(own.low)} to {number(own.high)}"
    return {"title": title, "value": number(own.value), "interval": ends, "beside": beside}


def _beside_accuracy(data: ReportData) -> str:
    counts, uses = frame(data, "table_1_patches")["test"], split_uses(data)
    largest = float(counts.max() or 0) / max(int(counts.sum()), 1)  # type: ignore[arg-type]
    return f"largest class {number(largest)}{f'; test split {uses}' if uses else ''}"


def lead_maps(data: ReportData) -> list[dict[str, Any]]:
    """Three test lesions of the model that the answer is about, by IoU: median, best, worst; `key` and `words`."""
    best = chosen(data)
    if best is None:
        return []
    found = frame(data, "sample_results").filter(pl.col("iou").is_not_null(), run_id=best.run_id)
    keys = found.sort("iou", "sample_id")["sample_key"].to_list()
    places = {"Median": (len(keys) - 1) // 2, "Best": len(keys) - 1, "Worst": 0}
    return [{"key": keys[place], "words": words} for words, place in places.items()] if len(keys) > 2 else []


def _accuracy(data: ReportData, model: Model) -> Row:
    return rows(data, "table_2_accuracy", run_id=model.run_id)[0]


def _best(data: ReportData, best: Model) -> str:
    row, several = _accuracy(data, best), len(shown(data)) > 1
    which = "has the lowest validation loss of the models compared" if several else "is the only model evaluated"
    return (
        f"{best.title}, {which}: {_percent(row, confidence(data) + ' ')} of "
        f"{samples_tested(data, row['n'])} in {frame(data, 'labels').height} classes."
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
    text = f"{second.title} has {_percent(row)}"
    paired = _comparison(data, best, second)
    if paired is None:
        apart = _apart(own, row) or _apart(row, own)
        return [f"{text}; the two CIs {'do not overlap' if apart else 'overlap, so the order is uncertain'}."]
    several = f"; over {paired['seeds']} seeds {number(paired['lowest'])} to {number(paired['highest'])}"
    rest = several if paired["seeds"] > 1 else ""
    return [
        f"{text}; the paired difference is {'significant' if paired['significant'] else 'not significant'} "
        f"({number(paired['difference'], signed=True)}, {number(paired['low'])} to {number(paired['high'])}, "
        f"{p_value(paired['p_holm'])} after Holm correction{rest})."
    ]


def _apart(upper: Row, lower: Row) -> bool:
    return upper["low"] is not None and lower["high"] is not None and bool(upper["low"] > lower["high"])


def _comparison(data: ReportData, first: Model, second: Model) -> Row | None:
    """The paired accuracies of two models, with the sign of first minus second."""
    for row in compared(data).filter(score="accuracy").to_dicts():
        if (row["run_a"], row["run_b"]) == (first.run_id, second.run_id):
            return row
        if (row["run_b"], row["run_a"]) == (first.run_id, second.run_id):
            turned = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
            if row["seeds"] > 1:
                turned |= {"lowest": -row["highest"], "highest": -row["lowest"]}
            return row | turned
    return None


def _localization(data: ReportData, best: Model) -> list[str]:
    row = headline(data, best)
    if row is None:
        return ["No activation map was scored."]
    own = score(row)
    if own.value is None:
        untuned = row["reason"] == "no_validation_lesions"
        why = "the validation split has no lesion to tune the threshold on" if untuned else "no lesion is correct"
        return [f"There is no localisation score: {why}."]
    found = [
        f"Over the {counted(own.n, 'lesion', 'lesions')} that it classifies correctly, its thresholded map overlaps "
        f"the annotation with a mean IoU of {own.text}; 1 is a perfect match."
    ]
    if best.guided:
        found.append("It was trained on annotations: that overlap was trained for, and shows nothing by itself.")
    return found


def _common_lesions(data: ReportData, best: Model, order: Sequence[Model]) -> list[str]:
    """Means over different lesions cannot be compared; those over the lesions that all classify correctly can."""
    found = rows(data, "localization_scores", population="common_lesions", group_name="all")
    scores = {row["run_id"]: score(row) for row in found if row["ll"] is not None}
    if best.guided or len(order) < 2 or any(model.run_id not in scores for model in order):
        return []  # a map that was trained for is no rival
    rivals = [model for model in order if not model.guided]
    own, top = scores[best.run_id], max(rivals, key=lambda model: scores[model.run_id].value or 0)
    where = f"Over the {counted(own.n, 'lesion', 'lesions')} that every run of the study classifies correctly"
    if top == best:
        return [f"{where}, its mean IoU is the highest: {own.text}."]
    return [f"{where}, {top.title} has the highest mean IoU: {scores[top.run_id].text}, against {own.text}."]
