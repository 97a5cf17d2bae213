"""One self-contained page from one read of the record, and the files beside it."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps

from lesionlens import __version__
from lesionlens.records import ReportData
from lesionlens.reporting.answer import found_answers, lead_maps, sentences, tiles, verdict
from lesionlens.reporting.card.content import as_json, content
from lesionlens.reporting.card.markdown import markdown
from lesionlens.reporting.cases import tables as case_tables
from lesionlens.reporting.cases.gallery import contact_sheet, examples, gallery
from lesionlens.reporting.cases.pictures import cases
from lesionlens.reporting.charts.curves import learning_curves, reliability, roc_curves, roc_levels, threshold_curves
from lesionlens.reporting.charts.detection import froc_curves
from lesionlens.reporting.charts.evidence import (
    by_mask_fraction,
    confidence_iou,
    forest,
    occlusion_chart,
    randomisation,
)
from lesionlens.reporting.charts.flow import flow_chart
from lesionlens.reporting.charts.guided import guidance_curves
from lesionlens.reporting.charts.style import Chart
from lesionlens.reporting.data import confidence, evaluated, frame, lookup, shown, sql, subtitle, unit
from lesionlens.reporting.formatting import worded
from lesionlens.reporting.tables import classification, evidence, localization, study
from lesionlens.reporting.tables import data as provenance
from lesionlens.reporting.tables.external import external
from lesionlens.reporting.tables.guided import guidance, guidance_by_size
from lesionlens.reporting.tables.published import published
from lesionlens.reporting.tables.spec import TableSpec
from lesionlens.reporting.verdict import chosen
from lesionlens.reporting.warnings import Warning, warnings
from lesionlens.scoring.localization import wrong_class_scores

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"
HEAT = "inferno"
SECTIONS = (
    ("answer", "Answer"),
    ("classification", "Classification"),
    ("localization", "Localisation"),
    ("evidence", "Evidence"),
    ("prototypes", "Prototypes"),
    ("external", "Other data"),
    ("training", "Training"),
    ("gallery", "Gallery"),
    ("data", "Data"),
    ("provenance", "Provenance"),
)

SELECTED = (
    "The models are the runs that were selected in validation. The query below lists the results of all runs; "
    "lesionlens compare shows the maps of any runs, by number."
)
OTHERS = (
    "study", "title", "external", "transfer", "gallery", "contact_sheet", "configuration", "versions", "subtitle",
    "flow", "sections", "cases", "made_from", "sql_flow", "sql_answers", "sql_confusion", "sql_classes", "sql_samples",
)  # fmt: skip
"""Values that name studies, or samples of other units, or hold no words of the page's own."""
LATEX = ("table-1", "table-2", "table-3", "table-4")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The page, and the files beside it by relative path: tables as CSV and LaTeX, figures as SVG, the model card."""

    page: str
    files: dict[str, str]


def render(data: ReportData) -> Rendered:
    """The report of one study: HTML5 that needs no network, and the files beside it.

    The same data give the same page. KeyError names a frame or column that the data lack.
    """
    (one, several), card = unit(data), content(data)
    shown = {name: _said(value, one, several) if name not in OTHERS else value for name, value in context(data).items()}
    rendered = written("report.html", shown | {"unit": one, "units": several})
    return Rendered(rendered.page, rendered.files | {"card.md": markdown(card), "card.json": as_json(card)})


def written(template: str, shown: dict[str, Any]) -> Rendered:
    """A page from its template, and the tables and charts among the values shown as files."""
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES / kind for kind in ("html", "css", "js")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = environment.get_template("page.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(template)
    html = page.render(script=Markup(script), script_digest=digest, version=__version__, **shown)
    items = list(_walk(shown.values()))
    tables = [item for item in items if isinstance(item, TableSpec)]
    files = {f"tables/{table.name}.csv": table.csv() for table in tables if len(table)}
    files |= {f"tables/{table.name}.tex": table.latex() for table in tables if table.name in LATEX}
    charts = (item for item in items if isinstance(item, Chart))
    return Rendered(html, files | {f"figures/{chart.name}.svg": chart.alone for chart in charts})


def _said(value: Any, one: str, several: str) -> Any:
    """Tables, charts, warnings and sentences, also inside tuples, lists and rows, with these words for a patch and for
    patches."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return worded(value, one, several)
    if isinstance(value, tuple | list):
        return type(value)(_said(each, one, several) for each in value)
    if isinstance(value, dict):
        return {name: _said(each, one, several) for name, each in value.items()}
    if isinstance(value, Warning):
        return replace(value, title=worded(value.title, one, several), text=worded(value.text, one, several))
    if isinstance(value, Chart):
        summary, inline, alone = (worded(words, one, several) for words in (value.summary, value.inline, value.alone))
        return replace(value, summary=summary, inline=Markup(inline), alone=alone)
    return value.worded(one, several) if isinstance(value, TableSpec) else value


def _walk(values: Iterable[Any]) -> Iterator[Any]:
    """The values, and those inside tuples."""
    for value in values:
        yield from _walk(value) if isinstance(value, tuple) else [value]


def context(data: ReportData) -> dict[str, Any]:
    """Everything the templates show."""
    others = external(data)
    known, created, models, best = published(), data.study.get("created_at"), shown(data), chosen(data)
    likeness = cases(data, models)
    hidden = {name for name, there in {"external": others, "prototypes": likeness["runs"]}.items() if not there}
    return {
        "study": data.study,
        "created": f"{created:%-d %B %Y, %H:%M %Z}" if created else "",
        "title": f"{data.study['name']}: does the classifier look at the lesion?",
        "sections": tuple(part for part in SECTIONS if part[0] not in hidden),
        "cases": likeness["runs"],
        "case_sentences": case_tables.sentences(data),
        "activation_precision": case_tables.precision(data),
        "prototype_table": case_tables.quality(data),
        "external": others,
        "made_from": f"study {str(data.study['digest'])[:12]}",
        "subtitle": subtitle(data),
        "verdict": verdict(data),
        "answers": found_answers(data),
        "sentences": sentences(data),
        "tiles": tiles(data),
        "warnings": warnings(data),
        "confidence": confidence(data),
        "published": known if known.same_classes(data) else None,
        "forest": forest(data),
        "thresholds": threshold_curves(data),
        "learning": learning_curves(data),
        "confidence_iou": confidence_iou(data, wrong_classes(data)),
        "roc": roc_curves(data),
        "levels": roc_levels(data),
        "froc": froc_curves(data),
        "froc_points": localization.froc_points(data),
        "reliability": reliability(data),
        "occlusion_chart": occlusion_chart(data),
        "randomisation": randomisation(data),
        "fractions": by_mask_fraction(data),
        "table_1": study.table_1(data, known),
        "table_2": study.table_2(data, known),
        "table_3": study.table_3(data, known),
        "table_4": study.table_4(data, known),
        "binary": classification.binary(data),
        "operating": classification.operating(data),
        "comparisons": classification.comparisons(data),
        "confusion": classification.confusion(data),
        "class_reports": classification.class_reports(data),
        "seeds": classification.seeds(data),
        "selection": classification.selection(data),
        "baselines": localization.baselines(data),
        "groups": localization.groups(data),
        "populations": localization.populations(data),
        "variants": localization.variants(data),
        "methods": localization.methods(data),
        "other_scores": localization.other_scores(data),
        "transfer": evidence.transfer(data),
        "guidance": guidance(data),
        "guidance_by_size": guidance_by_size(data),
        "guidance_curves": guidance_curves(data),
        "quadrants": evidence.quadrants(data),
        "occlusion": evidence.occlusion(data),
        "shortcuts": evidence.shortcuts(data),
        "subgroups": evidence.subgroups(data),
        "exclusions": provenance.exclusions(data),
        "exclusion_list": provenance.exclusion_list(data),
        "flow": flow_chart(data),
        "checklist": provenance.checklist(data),
        "recorded": frame(data, "checklist")["value"].drop_nulls().len(),
        "leaks": provenance.leaks(data),
        "normalisation": provenance.normalisation(data),
        "runs": provenance.runs(data),
        "facts": provenance.facts(data),
        "configuration": provenance.configuration(data),
        "versions": provenance.versions(data),
        "contact_sheet": contact_sheet(data),
        "gallery": gallery(data, models)
        | {"heat": heat(), "cases": likeness, "examples": examples(data, models), "lead": lead_maps(data)},
        "gallery_note": SELECTED if len(evaluated(data)) > len(models) else "",
        "quadrant_words": evidence.QUADRANTS,
        "best_run": best.run_id if best else None,
        "sql_flow": sql(data, ["flow_counts"]),
        "sql_answers": sql(data, ["answers"]),
        "sql_confusion": sql(data, ["confusion_matrix"]),
        "sql_classes": sql(data, ["class_scores", "average_scores"]),
        "sql_samples": sql(data, ["sample_results"]),
    }


def wrong_classes(data: ReportData) -> pl.DataFrame:
    """Mean IoU of the lesions whose class is wrong, by run, resampled as the study's other scores."""
    config = data.study.get("config")
    options = (lookup(config, name) for name in ("evaluation.resamples", "evaluation.confidence", "seed"))
    return wrong_class_scores(frame(data, "sample_results"), *options)


def heat() -> str:
    """The colours of the heat map: base64 of uint8 [256 x 3]."""
    colours = colormaps[HEAT](range(256), bytes=True)[:, :3]
    return base64.b64encode(colours.tobytes()).decode()
