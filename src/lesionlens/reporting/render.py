"""One self-contained page from one read of the record."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps

from lesionlens import __version__
from lesionlens.records import ReportData
from lesionlens.reporting import (
    figures_classification,
    figures_evidence,
    figures_localization,
    provenance,
    table_binary,
    table_classes,
    table_data,
    table_evidence,
    table_localization,
    table_populations,
    table_selection,
    tables,
)
from lesionlens.reporting.answer import answer, ranked, subtitle
from lesionlens.reporting.comparisons import comparisons
from lesionlens.reporting.contact_sheet import contact_sheet
from lesionlens.reporting.examples import examples
from lesionlens.reporting.exports import exports
from lesionlens.reporting.figures_training import learning_curves
from lesionlens.reporting.gallery import gallery
from lesionlens.reporting.models import confidence, evaluated, shown
from lesionlens.reporting.published import published
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables import same_classes
from lesionlens.reporting.warnings import warnings

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
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    code = environment.get_template(script).render()
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    page = environment.get_template(template)
    html = page.render(script=Markup(code), script_digest=digest, version=__version__, **shown)
    return Rendered(html, exports(shown, environment))


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
        "forest": figures_localization.forest(data),
        "thresholds": figures_localization.threshold_curves(data),
        "learning": learning_curves(data),
        "confidence_iou": figures_localization.confidence_iou(data),
        "table_1": table_data.table_1(data, known),
        "table_2": tables.table_2(data, known),
        "table_3": tables.table_3(data, known),
        "class_reports": table_classes.class_reports(data),
        "confusion": table_classes.confusion(data),
        "table_4": table_localization.table_4(data, known),
        "baselines": table_localization.baselines(data),
        "groups": table_localization.groups(data),
        "populations": table_populations.populations(data),
        "selection": table_selection.selection(data),
        "variants": table_localization.variants(data),
        "other_scores": table_localization.other_scores(data),
        "comparisons": comparisons(data),
        "roc": figures_classification.roc_curves(data),
        "reliability": figures_classification.reliability(data),
        "binary": table_binary.binary(data),
        "seeds": table_binary.spread_over_seeds(data),
        "quadrants": table_evidence.quadrants(data),
        "erase": table_evidence.erase(data),
        "occlusion_chart": figures_evidence.occlusion_chart(data),
        "randomisation": figures_evidence.randomisation(data),
        "shortcuts": table_evidence.shortcuts(data),
        "subgroups": table_evidence.subgroups(data),
        "fractions": figures_evidence.by_mask_fraction(data),
        "exclusions": table_data.exclusions(data),
        "contact_sheet": contact_sheet(data),
        "leaks": table_data.leaks(data),
        "exclusion_list": table_data.exclusion_list(data),
        "normalisation": table_data.normalisation(data),
        "runs": provenance.run_table(data),
        "facts": provenance.facts(data),
        "configuration": provenance.configuration(data),
        "versions": provenance.versions(data),
        "gallery_note": SELECTED if len(evaluated(data)) > len(shown(data)) else "",
        "sql_samples": query("samples", data),
        "sql_confusion": query("confusion", data),
        "sql_classes": query("classes", data),
        "gallery": gallery(data, shown(data)) | {"heat": heat(), "examples": examples(data, shown(data))},
        "quadrant_words": table_evidence.QUADRANTS,
        "best_run": next((model.run_id for model in ranked(data)), None),
    }


def heat() -> str:
    """The heat map's colours: base64 of uint8 [256 x 3]."""
    colours = colormaps[HEAT](range(256), bytes=True)[:, :3]
    return base64.b64encode(colours.tobytes()).decode()
