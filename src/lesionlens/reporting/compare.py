"""Several studies on one page: their models side by side, and what differs between them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from lesionlens.records import BASELINES, ReportData
from lesionlens.reporting.answer import sentences, verdict
from lesionlens.reporting.cases.gallery import merged_gallery
from lesionlens.reporting.charts.curves import roc_beside
from lesionlens.reporting.charts.detection import froc_beside
from lesionlens.reporting.charts.evidence import Entry, forest_of
from lesionlens.reporting.data import (
    ESTIMATE,
    Model,
    Part,
    Row,
    Score,
    common_unit,
    evaluated,
    frame,
    headline,
    lookup,
    rows,
    score,
    shown,
    sql,
    subtitle,
)
from lesionlens.reporting.formatting import DASH, METHODS, counted
from lesionlens.reporting.page import SELECTED, Rendered, heat, written
from lesionlens.reporting.tables.external import (
    between_studies,
    breasts_between,
    froc_between,
    froc_of_models,
    paired,
    same_samples,
)
from lesionlens.reporting.tables.spec import Cell, Column, TableSpec, estimate, text, whole
from lesionlens.reporting.warnings import Warning, warnings

SECTIONS = (
    ("answer", "Answer"),
    ("side-by-side", "Side by side"),
    ("gallery", "Gallery"),
    ("differences", "What differs"),
    ("provenance", "Provenance"),
)
APART = Warning(
    "Different samples",
    "These studies were not tested on the same samples. A difference between scores may be one of the samples, so "
    "that no order of the models follows from it. Studies of the same data and options of samples share them.",
    grave=True,
)
CHOSEN = "The models are the chosen runs; the query below lists the results of all runs of their studies."


def render_comparison(studies: Sequence[ReportData], runs: Sequence[int] = ()) -> Rendered:
    """One page over several studies: HTML5 that needs no network, and its tables and figures beside it.

    runs: show only these; else the selected models of every study. Raises ValueError where a run is in none of the
    studies or no study is given.
    """
    parts = _parts(studies, runs)
    entries = [
        Entry(model.short, name, model.series, row)
        for data, name, models in parts
        for model in models
        if (row := headline(data, model)) is not None
    ]
    everywhere: dict[Warning, list[str]] = {}
    if not same_samples(parts):
        everywhere[APART] = [name for _, name, _ in parts]
    for data, name, _ in parts:
        for warning in warnings(data):
            everywhere.setdefault(warning, []).append(name)
    number = sum(len(models) for _, _, models in parts)
    context: dict[str, Any] = {
        "title": f"{', '.join(name for _, name, _ in parts)}: studies compared",
        "sections": SECTIONS,
        "made_from": counted(len(studies), "study", "studies"),
        "subtitle": f"{counted(len(studies), 'study', 'studies')} · {counted(number, 'model', 'models')}",
        "verdict": _verdict(parts),
        "sides": [
            {"name": name, "subtitle": subtitle(data), "verdict": verdict(data), "sentences": sentences(data)}
            for data, name, _ in parts
        ],
        "warnings": [(", ".join(named), warning) for warning, named in everywhere.items()],
        "forest": forest_of(entries),
        "models": _models(parts),
        "paired": between_studies(parts),
        "breasts": breasts_between(parts),
        "roc_breasts": roc_beside(parts),
        "froc": froc_beside(parts) if same_samples(parts) else None,
        "froc_points": froc_of_models(parts),
        "froc_paired": froc_between(parts),
        "options": _options(parts),
        "patches": _patches(parts),
        "origins": _origins(parts),
        "gallery": merged_gallery(parts) | {"heat": heat(), "examples": {}, "lead": []},
        "gallery_note": CHOSEN if runs else SELECTED,
        **common_unit(parts),
        "sql_samples": _sql(parts, "sample_results"),
    }
    return written("compare.html", context)


def summary(studies: Sequence[ReportData], runs: Sequence[int] = ()) -> tuple[str, TableSpec]:
    """The verdict and the table of models, as on the page. Raises as render_comparison."""
    parts = _parts(studies, runs)
    return _verdict(parts), _models(parts)


def _parts(studies: Sequence[ReportData], runs: Sequence[int]) -> list[Part]:
    """The studies with their names, numbered where several have the same, and their models, coloured in page order."""
    if not studies:
        raise ValueError("name at least one study, or run, to compare")
    known = {model.run_id for data in studies for model in evaluated(data)}
    missing = [run for run in runs if run not in known]
    if missing:
        raise ValueError(
            f"no evaluated run {', '.join(map(str, missing))} in these studies; they have "
            f"{', '.join(map(str, sorted(known))) or 'none'}"
        )
    names = [str(data.study["name"]) for data in studies]
    parts: list[Part] = []
    series = 0
    for data, name in zip(studies, names, strict=True):
        models = [m for m in evaluated(data) if m.run_id in runs] if runs else list(shown(data))
        coloured = [replace(model, series=series + n) for n, model in enumerate(models)]
        series += len(models)
        parts.append((data, f"{name} ({data.study['id']})" if names.count(name) > 1 else name, coloured))
    return parts


def _sql(parts: Sequence[Part], *names: str) -> str:
    return "\n\n".join(dict.fromkeys(sql(data, names) for data, _, _ in parts))


def _verdict(parts: Sequence[Part]) -> str:
    rated: list[tuple[Row, Model, str]] = [  # a map that was trained for is no rival
        (row, model, name)
        for data, name, models in parts
        for model in models
        if (row := headline(data, model)) is not None and row["ll"] is not None and not model.guided
    ]
    if not same_samples(parts):
        return "These studies were tested on different samples, so their models are not ranked."
    if not rated:
        return "None of these models has a localisation score that was not trained for."
    (row, best, name), *others = sorted(rated, key=lambda entry: -entry[0]["ll"])
    first = f"{best.title} in {name} has the highest LL: a mean IoU of {score(row).text}."
    if not others:
        return first
    other, second, elsewhere = others[0]
    datas = {name: data for data, name, _ in parts}
    found = paired((datas[name], best), (datas[elsewhere], second)).filter(score="ll").to_dicts()
    if not found:
        return f"{first} Second is {second.title} in {elsewhere} with {score(other).text}; they share too few samples."
    gap = Score(found[0]["difference"], found[0]["low"], found[0]["high"], found[0]["n"])
    sure = "which includes 0: the order is uncertain" if gap.sign == "n.s." else "which excludes 0"
    return (
        f"{first} Second is {second.title} in {elsewhere} with {score(other).text}. On the {gap.n} lesions that both "
        f"classify correctly they differ by {gap.text}, {sure}."
    )


def _models(parts: Sequence[Part]) -> TableSpec:
    table = pl.concat([_scores(*part) for part in parts])
    columns = (
        Column("Base model", ("run_id", "model"), lambda _, title: Cell(title), numeric=False),
        text("Study", "study"),
        estimate("Accuracy", "accuracy", small="CI"),
        whole("Tested", "n"),
        estimate("LL\u00a0score", "ll", small="CI", mark="strong"),
        *(estimate(METHODS[name].capitalize(), name, small="LL") for name in BASELINES),
        estimate("Lesion occluded", "occlusion", signed=True, small="minus control region"),
    )
    note = (
        "Every score is that of the model's own study: over its own test split, at its own threshold. Paired "
        "differences within a study are in its report."
    )
    query = _sql(parts, "table_2_accuracy", "table_4_localization", "occlusion_test")
    return TableSpec("models", "Models", "of all studies", columns, table, (note,), query)


def _scores(data: ReportData, study: str, models: Sequence[Model]) -> pl.DataFrame:
    """Accuracy, headline LL with its baselines, and occlusion test of a study's models."""
    ends = ESTIMATE.values()
    named = pl.DataFrame(
        [(m.run_id, m.full, study, m.series) for m in models],
        schema={"run_id": pl.Int64, "model": pl.String, "study": pl.String, "series": pl.Int64},
        orient="row",
    )
    accuracy = frame(data, "table_2_accuracy").select(
        "run_id", "accuracy", "n", accuracy_low="low", accuracy_high="high"
    )
    ll = frame(data, "table_4_localization").filter("headline")
    ll = ll.select("run_id", "ll", *(f"{b}{end}" for b in BASELINES for end in ends), ll_low="low", ll_high="high")
    occluded = frame(data, "occlusion_test").filter(group_name="all")
    occluded = occluded.select("run_id", **{f"occlusion{end}": f"difference{end}" for end in ends})
    for scores in (accuracy, ll, occluded):
        named = named.join(scores, on="run_id", how="left", maintain_order="left")
    return named


def _options(parts: Sequence[Part]) -> TableSpec:
    """Every option of the configurations that is not the same in all."""
    flat = {f"study {name}": dict(_flat(data.study.get("config") or {})) for data, name, _ in parts}
    keys = dict.fromkeys(key for found in flat.values() for key in found if key != "name")
    table = pl.DataFrame(
        [{"option": key} | {name: found.get(key, DASH) for name, found in flat.items()} for key in keys],
        schema=dict.fromkeys(["option", *flat], pl.String),
    )
    table = table.filter(pl.concat_list(*flat).list.n_unique() > 1)
    columns = (text("Option", "option"), *(text(name.removeprefix("study "), name) for name in flat))
    notes = () if table.height else ("The configurations are the same.",)
    return TableSpec("options", "Options", "that are not the same", columns, table, notes, _sql(parts, "studies"))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)


def _patches(parts: Sequence[Part]) -> TableSpec:
    table = pl.DataFrame(
        [
            {
                "study": name,
                "classes": frame(data, "labels").height,
                **frame(data, "table_1_patches").select(pl.col("train", "validation", "test").sum()).row(0, named=True),
                "shared": sum(row["shared"] for row in rows(data, "split_check", entity="patient")),
                "excluded": frame(data, "exclusion_reasons")["lesions"].sum(),
                "sample_set": data.study["sample_set_digest"],
            }
            for data, name, _ in parts
        ]
    ).with_columns(leak=pl.col("shared") > 0)
    columns = (
        text("Study", "study"),
        whole("Classes", "classes"),
        whole("Training", "train"),
        whole("Validation", "validation"),
        whole("Test", "test"),
        whole("Patients in several splits", "shared", mark="alarm", where="leak"),
        whole("Lesions excluded", "excluded"),
        _digest("Sample set", "sample_set"),
    )
    note = "Studies with the same sample set were trained and tested on the same samples."
    query = _sql(parts, "labels", "table_1_patches", "split_check", "exclusion_reasons")
    return TableSpec("patches", "Samples", "of each study", columns, table, (note,), query)


def _origins(parts: Sequence[Part]) -> TableSpec:
    table = pl.DataFrame(
        [
            {
                "study": name,
                "number": data.study["id"],
                "created": data.study.get("created_at"),
                "seed": lookup(data.study.get("config"), "seed"),
                "digest": data.study["digest"],
                "dataset": data.study["dataset_digest"],
                **{package: (data.study.get("versions") or {}).get(package) for package in ("lesionlens", "torch")},
            }
            for data, name, _ in parts
        ]
    )
    columns = (
        text("Study", "study"),
        Column("Number", ("number",), lambda number: Cell(str(number))),
        Column("Entered", ("created",), lambda at: Cell(f"{at:%-d %B %Y, %H:%M %Z}" if at else DASH), numeric=False),
        Column("Seed", ("seed",), lambda seed: Cell(str(seed))),
        _digest("Study digest", "digest"),
        _digest("Data set digest", "dataset"),
        text("lesionlens", "lesionlens"),
        text("torch", "torch"),
    )
    return TableSpec("origins", "Studies", "on this page", columns, table, sql=_sql(parts, "studies"))


def _digest(head: str, name: str) -> Column:
    return Column(head, (name,), lambda digest: Cell(str(digest)[:12]), numeric=False, mark="mono")
