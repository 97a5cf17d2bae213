"""Warnings that a reader needs before believing a number."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.data import evaluated, frame, headline, headline_method, lookup, models, shown
from lesionlens.reporting.formatting import ENTITIES, METHODS, SPLITS, STATUSES, count, counted, joined, number, term
from lesionlens.reporting.verdict import chosen

FEW_TEST = 30
FEW_LESIONS = 50
LISTED = 8
LINEAR = ("grad_cam", "hires_cam")
"""Methods whose maps are linear in the score that they explain."""


@dataclass(frozen=True, slots=True)
class Warning:
    """A warning; `grave` ones make scores invalid or not transferable."""

    title: str
    text: str
    grave: bool = False


def warnings(data: ReportData) -> tuple[Warning, ...]:
    """Warnings that follow from the configuration and the record; grave ones first."""
    found = [
        *_configuration(data),
        *_guided(data),
        *_turned(data),
        *_patients(data),
        *_leaks(data),
        *_few(data),
        *_blank(data),
        *_unfinished(data),
    ]
    return tuple(sorted(found, key=lambda warning: not warning.grave))


def _configuration(data: ReportData) -> Iterator[Warning]:
    config = data.study.get("config")
    if lookup(config, "training.normalise") == "per_class":
        yield Warning(
            "Label leakage through normalisation",
            "Every patch, test patches included, was normalised with the statistics of its own class, which requires "
            "its label. All classification scores are too high, by an unknown amount.",
            grave=True,
        )
    if lookup(config, "data.source") == "phantom":
        confounder = lookup(config, "data.phantom.confounder") or 0
        planted = f" A marker away from the lesion was planted with probability {confounder:g}." if confounder else ""
        yield Warning(
            "Synthetic mammograms",
            f"The images are drawn by a program. The numbers test the method and do not apply to real mammograms."
            f"{planted}",
        )
    if data.study.get("kind") == "examined":
        yield from _examined(config)
    if lookup(config, "training.weights") == "none":
        yield Warning(
            "No pretrained weights",
            "The models start from random weights; their frozen blocks stay random, with batch normalisation "
            "calibrated on training patches. This is not transfer learning and not comparable with it.",
        )


def _examined(config: object) -> Iterator[Warning]:
    if lookup(config, "evaluation.policy") != "validation":
        text = "The data have no validation lesions. Maps are cut by Otsu's rule, and no operating point is known."
        yield Warning("Thresholds were not tuned", text)
    if lookup(config, "examined.predictions"):
        text = (
            "Only predictions and maps were given. Missing are occlusion and swap test, weight randomisation, "
            "faithfulness and the baseline of random weights, so no answer is a yes."
        )
        yield Warning("Examined without the model", text)


def _guided(data: ReportData) -> Iterator[Warning]:
    if any(model.guided for model in shown(data)):
        yield Warning(
            "Trained on annotations",
            "Maps of guided models were trained to lie on annotations. Their localisation scores are ranked apart, and "
            "say nothing without the occlusion and the swap test beside them.",
        )


def _turned(data: ReportData) -> Iterator[Warning]:
    """Of two classes each one's logit less the mean of both is the other's with its sign turned."""
    method, labels, best = headline_method(data), frame(data, "labels"), chosen(data)
    turned = method in LINEAR and lookup(data.study.get("config"), "evaluation.explains") == "contrast"
    if not turned or labels.height != 2 or not labels["is_lesion"].all() or best is None:
        return
    scored = frame(data, "sample_results").filter(pl.col("iou").is_not_null() & pl.col("correct"), run_id=best.run_id)
    parts = []
    for code, name in labels.select("code", "name").rows():
        mean, n = scored.filter(true_code=code).select(pl.col("iou").mean(), n=pl.len()).row(0)
        parts.append(f"{name} {number(mean)} ({counted(n, 'lesion', 'lesions')})")
    yield Warning(
        "Two classes share one map",
        f"There are two classes, both of lesions. The {METHODS[method]} map of one is that of the other with its sign "
        "turned: it shows where the other is not seen, and a network that looks at the lesion for one class may have "
        f"maps beside it for the other. LL by class of {best.title}: {joined(parts)}.",
    )


def _patients(data: ReportData) -> Iterator[Warning]:
    """COCO files know no patients: without a list of them two images of one person can't be kept together."""
    tested = frame(data, "sample_results").select("patient", "image_key").unique()
    alone = tested.height and tested["patient"].n_unique() == tested.height
    if lookup(data.study.get("config"), "data.source") == "coco" and alone:
        yield Warning(
            "Every image counts as a patient",
            "No two test images name the same patient. If some are of one person, they may lie in several splits, and "
            "intervals are too narrow: list the patients in patients.csv beside the COCO files.",
        )


def _leaks(data: ReportData) -> Iterator[Warning]:
    found = frame(data, "split_check").filter(pl.col("shared") > 0)
    parts = [
        f"{count(row['shared'])} {term(row['entity'], ENTITIES)} in both {term(row['split_a'], SPLITS)} "
        f"and {term(row['split_b'], SPLITS)}"
        for row in found.to_dicts()
    ]
    if parts:
        grave = "test" in [*found["split_a"], *found["split_b"]]
        text = f"The splits are not independent: {joined(parts)}. Scores on shared patients are too high."
        yield Warning("Patients shared between splits", text, grave)


def _few(data: ReportData) -> Iterator[Warning]:
    table = frame(data, "table_1_patches").filter(pl.col("test") < FEW_TEST).to_dicts()
    if table:
        parts = [f"{row['label']} {count(row['test'])}" for row in table]
        text = f"Fewer than {FEW_TEST} test patches in: {', '.join(parts)}. Scores of these classes are uncertain."
        yield Warning("Few test patches", text)
    own = [(model, headline(data, model)) for model in shown(data)]
    few = [f"{model.title}: {count(row['n'])}" for model, row in own if row and (row["n"] or 0) < FEW_LESIONS]
    if few:
        text = f"LL is a mean over fewer than {FEW_LESIONS} lesions for {_first(few)}."
        yield Warning("Few lesions in the localisation score", text)


def _blank(data: ReportData) -> Iterator[Warning]:
    scored = frame(data, "sample_results").filter(pl.col("iou").is_not_null())
    blank = int(scored["blank"].fill_null(False).sum())
    if blank:
        proportion = f"{number(100 * blank / scored.height, 1)} %"
        text = f"{count(blank)} of {count(scored.height)} activation maps of lesions ({proportion})"
        yield Warning("Blank maps", f"{text} have no positive value. Their IoU is 0.")


def _unfinished(data: ReportData) -> Iterator[Warning]:
    reasons = dict(frame(data, "runs").select("run_id", "reason").rows())
    known = evaluated(data)
    parts = []
    for model in models(data):
        if model not in known:
            state = "not evaluated" if model.status == "finished" else term(model.status, STATUSES)
            reason = f": {reasons[model.run_id]}" if reasons[model.run_id] else ""
            parts.append(f"{model.title} ({state}{reason})")
    if parts:
        title = counted(len(parts), "run is missing", "runs are missing")
        yield Warning(title, f"Not in this report: {_first(parts)}.")


def _first(parts: list[str]) -> str:
    """The first LISTED of them, and how many more; the section Provenance lists all runs."""
    more = [f"{count(len(parts) - LISTED)} more"] if len(parts) > LISTED else []
    return "; ".join(parts[:LISTED] + more)
