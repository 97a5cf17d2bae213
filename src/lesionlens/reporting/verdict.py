"""The answer: detection and diagnosis, each yes, partly, no or not shown, with the number that decided it.

A pure function from the frames of a report to rows, stored once; page, terminal and SQL show these rows.
docs/report.md explains every word of them.
"""

from dataclasses import replace

import polars as pl

from lesionlens.frames import Schema
from lesionlens.records import ReportData
from lesionlens.reporting.data import Model, Row, confidence, frame, shown
from lesionlens.reporting.findings import RANK, Evidence, Finding, Question, detection, diagnosis, gates, is_cam, maps
from lesionlens.reporting.formatting import MEASURES, counted, number

JUDGED = (
    "labels", "runs", "selected_runs", "table_2_accuracy", "table_4_localization", "split_check", "shortcut_audit",
    "sample_results", "hit_rates", "decisions", "threshold_free_scores",
)  # fmt: skip
"""Frames that `answers` needs."""
GROUNDS = {
    "detection": "its maps fit the lesions better than every baseline, and its decision uses the lesion",
    "diagnosis": "the lesion decides, and what surrounds it does not",
}
"""What a yes says."""
ANSWERS: Schema = {
    "run_id": pl.Int64, "question": pl.String, "group_name": pl.String, "verdict": pl.String, "measure": pl.String,
    "number": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n": pl.Int64, "n_patients": pl.Int64,
    "reasons": pl.List(pl.String), "sentence": pl.String,
}  # fmt: skip


def answers(data: ReportData) -> pl.DataFrame:
    """One row a question and group of lesions, group_name null for all lesions; columns ANSWERS.

    About the model with the lowest validation loss; no row without an evaluated model. Groups are kinds of lesion, each
    of several classes. Detection is asked where a class has no lesion, diagnosis where two classes have one.
    """
    model = chosen(data)
    if model is None:
        return pl.DataFrame(schema=ANSWERS)
    classes = frame(data, "labels").filter("is_lesion").group_by("group_name", maintain_order=True).len().rows()
    found = []
    for question in asked(data):
        # a group of one class is that class, whose maps show what tells it from the others, not the lesion
        groups = [group for group, n in classes if n > 1] if len(classes) > 1 else []
        each = {group: _judged(data, model, question, group) for group in groups}
        found += [_whole(_judged(data, model, question, None), each), *each.values()]
    return pl.DataFrame(found, schema=ANSWERS, orient="row")


def asked(data: ReportData) -> list[Question]:
    """The questions that the classes allow."""
    lesion = frame(data, "labels")["is_lesion"].to_list()
    wanted: dict[Question, bool] = {"detection": any(lesion) and not all(lesion), "diagnosis": sum(lesion) > 1}
    return [question for question, possible in wanted.items() if possible]


def chosen(data: ReportData) -> Model | None:
    """The evaluated model with the lowest validation loss over its seeds, never chosen by a test score.

    Of its seeds the one with the lowest loss stands for it in the gallery.
    """
    losses = dict(frame(data, "selected_runs").select("run_id", "validation_loss").rows())
    cells = frame(data, "decisions").select("backbone", "strategy", "guidance").unique().rows()
    found = [m for m in shown(data) if not cells or (m.backbone, m.strategy, m.guidance) in cells]
    return min(found, key=lambda model: losses.get(model.run_id, float("inf")), default=None)


def by_method(data: ReportData) -> dict[str, Finding]:
    """What the maps of every attribution method alone say of all lesions; the headline's first. Of a guided model only
    methods whose maps were not trained for."""
    model = chosen(data)
    known = (
        frame(data, "decisions").filter(question="localization", measure="ll")["variant"].unique(maintain_order=True)
    )
    if model is None or known.is_empty():
        return {}
    found = Evidence(data, model.run_id, None)
    asked = [method for method in dict.fromkeys([found.method, *known]) if not (found.guided and is_cam(method))]
    return {method: _complete(found, method) for method in asked}


def _complete(found: Evidence, method: str) -> Finding:
    """What a method's maps say; nothing good where a baseline is missing."""
    said, missing = maps(found, method), set(found.baselines) - set(found.gaps(method))
    return replace(said, verdict="not shown") if missing and said.verdict == "yes" else said


def held(data: ReportData) -> str:
    """For how many attribution methods it holds that the maps fit the lesions, and on how many lesions few of them
    were judged."""
    said = by_method(data)
    fit = sum(finding.verdict == "yes" for finding in said.values())
    most = max((finding.number.n for finding in said.values()), default=0)
    fewer = [finding.number.n for finding in said.values() if 2 * finding.number.n < most]
    text = (
        f"That its maps fit the lesions better than every baseline holds for {fit} of {len(said)} attribution methods"
    )
    rest = f", {len(fewer)} of them judged on at most {counted(max(fewer), 'lesion', 'lesions')}" if fewer else ""
    return f"{text}{rest}."


def _judged(data: ReportData, model: Model, question: Question, group: str | None) -> Row:
    """The answer to one question about one group, as a row of ANSWERS."""
    found = Evidence(data, model.run_id, group)
    finding = detection(found) if question == "detection" else diagnosis(found)
    reasons = [*gates(found, question), *finding.reasons]
    if question == "diagnosis" and "detection" not in asked(data):  # nothing else says what its maps show
        reasons += [replace(reason, cap="partly") for reason in maps(found).reasons]
    best = min([finding.verdict, *(reason.cap for reason in reasons)], key=RANK.index)
    verdict = "not shown" if any(reason.silent for reason in reasons) else best
    own = finding.number
    row: Row = {"run_id": model.run_id, "question": question, "group_name": group, "verdict": verdict}
    row |= {"measure": finding.measure, "number": own.value, "low": own.low, "high": own.high, "n": own.n}
    row |= {"n_patients": own.patients, "reasons": [reason.code for reason in reasons]}
    return row | {"sentence": _sentence(row, [reason.words for reason in reasons], confidence(data))}


def _whole(row: Row, each: dict[str, Row]) -> Row:
    """The answer for all lesions: a yes that some group does not bear is only partly one, and says so."""
    verdicts = {group: of_group["verdict"] for group, of_group in each.items()}
    if row["verdict"] != "yes" or all(verdict == "yes" for verdict in verdicts.values()):
        return row
    apart = "; ".join(f"{verdict} for {group}" for group, verdict in verdicts.items())
    later = row["sentence"].partition(": ")[2]
    return row | {
        "verdict": "partly", "reasons": ["groups", *row["reasons"]],
        "sentence": f"{apart[0].upper()}{apart[1:]}. All lesions together: {later}",
    }  # fmt: skip


def _sentence(row: Row, words: list[str], ci: str) -> str:
    """`Partly: what stands against it; the number that decided it, over how many lesions and patients.`"""
    trust = "Not to be trusted: " if {"leak", "label_leak"} & set(row["reasons"]) else ""
    begin = f"{trust}{row['verdict'] if trust else row['verdict'].capitalize()}"
    if row["verdict"] == "yes":
        words = [GROUNDS[row["question"]], *words]
    measured = ""
    if row["number"] is not None:
        ends = f" ({ci} {number(row['low'])} to {number(row['high'])})" if row["low"] is not None else ""
        lesions, patients = counted(row["n"], "lesion", "lesions"), counted(row["n_patients"], "patient", "patients")
        auc = row["measure"].startswith("auc")  # rests on the patients of both sides
        where = f"{lesions} with {patients} of the rarer class" if auc else f"{lesions} of {patients}"
        measured = f"{MEASURES[row['measure']]} is {number(row['number'])}{ends}, over {where}"
    return f"{begin}: {'; '.join(filter(None, [*words, measured]))}."
