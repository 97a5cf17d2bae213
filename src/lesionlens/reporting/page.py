"""One self-contained page from one read of the record."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps

from lesionlens import __version__
from lesionlens.records import ReportData
from lesionlens.reporting.charts.curves import learning_curves, reliability, roc_curves, threshold_curves
from lesionlens.reporting.charts.evidence import (
    by_mask_fraction,
    confidence_iou,
    forest,
    occlusion_chart,
    randomisation,
)
from lesionlens.reporting.data import confidence, evaluated, frame, lookup, shown
from lesionlens.reporting.gallery import examples, gallery
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables import (
    binary,
    classes,
    evidence,
    localization,
    populations,
    provenance,
    selection,
    study,
)
from lesionlens.reporting.tables import data as data_tables
from lesionlens.reporting.tables.comparisons import comparisons
from lesionlens.reporting.tables.files import exports
from lesionlens.reporting.tables.published import published
from lesionlens.reporting.tables.study import same_classes
from lesionlens.reporting.thumbnails import contact_sheet
from lesionlens.reporting.verdict import answer, ranked, subtitle
from lesionlens.reporting.warnings import warnings
from lesionlens.scoring.localization import wrong_class_scores

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"
HEAT = "inferno"
SECTIONS = (
    ("answer", "Answer"),
    ("classification", "Classification"),
    ("localization", "Localisation"),
    ("evidence", "Evidence"),
    ("training", "Training"),
    ("gallery", "Gallery"),
    ("data", "Data"),
    ("provenance", "Provenance"),
)

SELECTED = (
    "The models are those that validation loss selected. The query below lists the results of all runs; "
    "make compare, with runs by number, shows the maps of any."
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The page, and the files beside it by relative path: tables as CSV and LaTeX, figures as SVG."""

    page: str
    files: dict[str, str]


def render(data: ReportData, values: dict[str, Any] | None = None) -> Rendered:
    """The report of one study: HTML5 that needs no network, and what lies beside it.

    values: published tables, the package's own where None. The same data give the same page. KeyError names a frame
    or column that the data lack.
    """
    return written("report.html", "page.js", context(data, values))


def written(template: str, script: str, shown: dict[str, Any]) -> Rendered:
    """A page from its template and script, and the files beside it."""
    folders = [TEMPLATES / kind for kind in ("html", "css", "js")]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    code = environment.get_template(script).render()
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    page = environment.get_template(template)
    html = page.render(script=Markup(code), script_digest=digest, version=__version__, **shown)
    return Rendered(html, exports(shown))


def context(data: ReportData, values: dict[str, Any] | None) -> dict[str, Any]:
    """Everything the templates write down."""
    known = published(values)
    created = data.study.get("created_at")
    return {
        "study": data.study,
        "created": f"{created:%-d %B %Y, %H:%M %Z}" if created else "",
        "title": f"{data.study['name']}: does the classifier look at the lesion?",
        "sections": SECTIONS,
        "made_from": f"study {str(data.study['digest'])[:12]}",
        "subtitle": subtitle(data),
        "answer": answer(data),
        "warnings": warnings(data),
        "confidence": confidence(data),
        "shown": shown(data),
        "published": known if same_classes(data, known) else None,
        "forest": forest(data),
        "thresholds": threshold_curves(data),
        "learning": learning_curves(data),
        "confidence_iou": confidence_iou(data, wrong_classes(data)),
        "table_1": data_tables.table_1(data, known),
        "table_2": study.table_2(data, known),
        "table_3": study.table_3(data, known),
        "class_reports": classes.class_reports(data),
        "confusion": classes.confusion(data),
        "table_4": localization.table_4(data, known),
        "baselines": localization.baselines(data),
        "groups": localization.groups(data),
        "populations": populations.populations(data),
        "selection": selection.selection(data),
        "variants": localization.variants(data),
        "other_scores": localization.other_scores(data),
        "comparisons": comparisons(data),
        "roc": roc_curves(data),
        "reliability": reliability(data),
        "binary": binary.binary(data),
        "seeds": binary.spread_over_seeds(data),
        "quadrants": evidence.quadrants(data),
        "erase": evidence.erase(data),
        "occlusion_chart": occlusion_chart(data),
        "randomisation": randomisation(data),
        "shortcuts": evidence.shortcuts(data),
        "subgroups": evidence.subgroups(data),
        "fractions": by_mask_fraction(data),
        "exclusions": data_tables.exclusions(data),
        "contact_sheet": contact_sheet(data),
        "leaks": data_tables.leaks(data),
        "exclusion_list": data_tables.exclusion_list(data),
        "normalisation": data_tables.normalisation(data),
        "runs": provenance.run_table(data),
        "facts": provenance.facts(data),
        "configuration": provenance.configuration(data),
        "versions": provenance.versions(data),
        "gallery_note": SELECTED if len(evaluated(data)) > len(shown(data)) else "",
        "sql_samples": query("samples", data),
        "sql_confusion": query("confusion", data),
        "sql_classes": query("classes", data),
        "gallery": gallery(data, shown(data)) | {"heat": heat(), "examples": examples(data, shown(data))},
        "quadrant_words": evidence.QUADRANTS,
        "best_run": next((model.run_id for model in ranked(data)), None),
    }


def wrong_classes(data: ReportData) -> pl.DataFrame:
    """Mean IoU of the lesions whose class is wrong, by run, resampled as the study's other scores."""
    config = data.study.get("config")
    options = (lookup(config, name) for name in ("evaluation.resamples", "evaluation.confidence", "seed"))
    return wrong_class_scores(frame(data, "sample_results"), *options)


def heat() -> str:
    """The heat map's colours: base64 of uint8 [256 x 3]."""
    colours = colormaps[HEAT](range(256), bytes=True)[:, :3]
    return base64.b64encode(colours.tobytes()).decode()
