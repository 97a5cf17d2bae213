"""One gallery over the models of several studies."""

from collections.abc import Sequence
from typing import Any

from lesionlens.records import ReportData
from lesionlens.reporting.gallery import gallery
from lesionlens.reporting.models import Model

Shown = tuple[ReportData, str, Sequence[Model]]
"""A study, its name on the page, and its models that are shown."""


def merged_gallery(parts: Sequence[Shown]) -> dict[str, Any]:
    """As `gallery`: a patch that several studies tested stands once, with the results of all their models.

    Studies share patches where they share the sample set. Where they do not, a patch's key begins with its study's
    name, so that a link to it lasts. Runs are known by study and number: one run may be evaluated in two ways.
    """
    sets = {str(data.study["sample_set_digest"]) for data, _, _ in parts}
    runs: list[dict[str, Any]] = []
    classes: dict[str, dict[str, str]] = {}
    samples: dict[tuple[str, str], dict[str, Any]] = {}
    reduced = False
    for data, name, models in parts:
        found, number = gallery(data, models), data.study["id"]
        reduced = reduced or found["reduced"]
        for run in found["runs"]:
            title = f"{run['title']} · {name}"
            runs.append(run | {"id": f"{number}.{run['id']}", "title": title, "series": len(runs) % 8})
        classes |= {each["code"]: each for each in found["classes"]}
        for sample in found["samples"]:
            key = sample["key"] if len(sets) == 1 else f"{name}: {sample['key']}"
            kept = samples.setdefault((str(data.study["sample_set_digest"]), key), sample | {"key": key, "results": {}})
            kept["results"] |= {f"{number}.{run}": result for run, result in sample["results"].items()}
    return {"runs": runs, "classes": list(classes.values()), "samples": list(samples.values()), "reduced": reduced}
