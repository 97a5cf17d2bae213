"""What a reader must know before believing a number."""

from dataclasses import dataclass

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.data import evaluated, frame, lookup, models, shown
from lesionlens.reporting.formatting import PARTS, STATUSES, UNITS, count, counted, joined, number, plain
from lesionlens.reporting.verdict import headline

FEW_TEST = 30
FEW_LESIONS = 50
LISTED = 8


@dataclass(frozen=True, slots=True)
class Warning:
    """A warning; `grave` ones make scores invalid or not transferable."""

    title: str
    text: str
    grave: bool = False


def warnings(data: ReportData) -> tuple[Warning, ...]:
    """Warnings that the configuration and the record give rise to; grave ones first."""
    found = [*_configuration(data), *_shared(data), *_few(data), *_blank(data), *_unfinished(data)]
    return tuple(sorted(found, key=lambda warning: not warning.grave))


def _configuration(data: ReportData) -> list[Warning]:
    config = data.study.get("config")
    found = []
    if lookup(config, "training.normalise") == "per_class":
        found.append(
            Warning(
                "The labels leak through normalisation",
                "Every patch, test patches included, was normalised with the statistics of its own class. That needs "
                "the answer before the question: all classification scores are too high, by an unknown amount.",
                grave=True,
            )
        )
    if lookup(config, "data.source") == "phantom":
        confounder = lookup(config, "data.phantom.confounder") or 0
        planted = f" A marker away from the lesion was planted with probability {confounder:g}." if confounder else ""
        found.append(
            Warning(
                "Synthetic mammograms",
                f"The images are drawn by a program. The numbers show that the method works; they say nothing about "
                f"real mammograms.{planted}",
            )
        )
    if lookup(config, "training.weights") == "none":
        found.append(
            Warning(
                "No pretrained weights",
                "The models start from random weights and their first half stays random, its batch normalisation "
                "calibrated on training patches. This is not transfer learning, and not comparable with it.",
            )
        )
    return found


def _shared(data: ReportData) -> list[Warning]:
    leaks = frame(data, "split_check").filter(pl.col("shared") > 0)
    parts = [
        f"{count(row['shared'])} {plain(row['unit'], UNITS)} in both {plain(row['split_a'], PARTS)} "
        f"and {plain(row['split_b'], PARTS)}"
        for row in leaks.to_dicts()
    ]
    if not parts:
        return []
    grave = "test" in leaks["split_a"].to_list() + leaks["split_b"].to_list()
    text = f"The parts are not independent: {joined(parts)}. Scores on shared patients are too high."
    return [Warning("Patients are shared between parts", text, grave)]


def _few(data: ReportData) -> list[Warning]:
    found = []
    table = frame(data, "table_1_patches").filter(pl.col("test") < FEW_TEST).to_dicts()
    if table:
        parts = [f"{row['label']} {count(row['test'])}" for row in table]
        text = f"Fewer than {FEW_TEST} test patches in: {', '.join(parts)}. Per-class scores swing by chance."
        found.append(Warning("Few test patches", text))
    own = [(model, headline(data, model)) for model in shown(data)]
    few = [f"{model.title}: {count(row['n'])}" for model, row in own if row and (row["n"] or 0) < FEW_LESIONS]
    if few:
        text = f"The localisation score rests on fewer than {FEW_LESIONS} lesions for {_first(few)}."
        found.append(Warning("Few lesions behind the localisation score", text))
    return found


def _blank(data: ReportData) -> list[Warning]:
    scored = frame(data, "sample_results").filter(pl.col("iou").is_not_null())
    if "blank" not in scored.columns or not scored.height:
        return []
    blank, total = int(scored["blank"].fill_null(False).sum()), scored.height
    if not blank:
        return []
    share = f"{number(100 * blank / total, 1)} %"
    text = f"{count(blank)} of {count(total)} activation maps of lesions ({share}) mark nothing."
    return [Warning("Blank maps", f"{text} They count as an IoU of 0.")]


def _unfinished(data: ReportData) -> list[Warning]:
    parts = []
    reasons = {row["run_id"]: row["reason"] for row in frame(data, "runs").to_dicts()}
    known = evaluated(data)
    for model in models(data):
        if model in known:
            continue
        state = "not evaluated" if model.status == "finished" else plain(model.status, STATUSES)
        reason = f": {reasons[model.run_id]}" if reasons[model.run_id] else ""
        parts.append(f"{model.title} ({state}{reason})")
    if not parts:
        return []
    title = counted(len(parts), "run is missing", "runs are missing")
    return [Warning(title, f"Not in this report: {_first(parts)}.")]


def _first(parts: list[str]) -> str:
    """The first LISTED of them, and how many more; all runs stand under Provenance."""
    more = [f"{count(len(parts) - LISTED)} more"] if len(parts) > LISTED else []
    return "; ".join(parts[:LISTED] + more)
