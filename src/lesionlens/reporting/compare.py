"""Several studies on one page: their models side by side, and what differs between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lesionlens.records import ReportData
from lesionlens.reporting.charts.evidence import Entry, forest_of
from lesionlens.reporting.data import Model, evaluated, frame, lookup, rows, shown
from lesionlens.reporting.formatting import DASH, METHODS, count, counted, interval, number, plain
from lesionlens.reporting.gallery import Shown, merged_gallery
from lesionlens.reporting.page import SELECTED, Rendered, heat, written
from lesionlens.reporting.queries import compared
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow, scored
from lesionlens.reporting.verdict import BASELINES, answer, headline, score, subtitle
from lesionlens.reporting.warnings import Warning, warnings

SECTIONS = (
    ("answer", "Answer"),
    ("side-by-side", "Side by side"),
    ("gallery", "Gallery"),
    ("differences", "What differs"),
    ("provenance", "Provenance"),
)
CHOSEN = "The models are the chosen runs; the query below lists the results of all runs of their studies."


@dataclass(frozen=True, slots=True)
class Placed:
    """A model of one of the studies; `series` is its place in the page's colour order."""

    study: ReportData
    name: str
    model: Model
    series: int


def render_comparison(studies: Sequence[ReportData], runs: Sequence[int] = ()) -> Rendered:
    """One page over several studies: HTML5 that needs no network, and its tables and figures beside it.

    runs: show only these; else every study's selected models. Raises ValueError where a run is in none of the studies
    or no study is given.
    """
    if not studies:
        raise ValueError("name at least one study, or run, to compare")
    names = _names(studies)
    placed = list(_placed(studies, names, runs))
    entries = [
        Entry(p.model.short, p.name, p.series, row) for p in placed if (row := headline(p.study, p.model)) is not None
    ]
    everywhere: dict[Warning, list[str]] = {}
    for data, name in zip(studies, names, strict=True):
        for warning in warnings(data):
            everywhere.setdefault(warning, []).append(name)
    sides = [_side(data, name) for data, name in zip(studies, names, strict=True)]
    tables = (_models(placed), _options(studies, names), _patches(studies, names), _origins(studies, names))
    shown_here: dict[str, Any] = {
        "title": f"{', '.join(names)}: does the classifier look at the lesion?",
        "sections": SECTIONS,
        "made_from": counted(len(studies), "study", "studies"),
        "subtitle": f"{counted(len(studies), 'study', 'studies')} · {counted(len(placed), 'model', 'models')}",
        "verdict": _verdict(placed),
        "sides": sides,
        "warnings": [(", ".join(named), warning) for warning, named in everywhere.items()],
        "forest": forest_of(entries),
        **{table.name: replace(table, sql=compared(table.name, studies)) for table in tables},
        "gallery": merged_gallery(_by_study(placed)) | {"heat": heat(), "examples": {}},
        "gallery_note": CHOSEN if runs else SELECTED,
        "sql_samples": compared("samples", studies),
    }
    return written("compare.html", "page.js", shown_here)


def told(studies: Sequence[ReportData], runs: Sequence[int] = ()) -> tuple[str, Table]:
    """The verdict and the table of models, as on the page. Raises as render_comparison."""
    placed = list(_placed(studies, _names(studies), runs))
    return _verdict(placed), _models(placed)


def _by_study(placed: Sequence[Placed]) -> list[Shown]:
    return [
        (next(iter(group)).study, name, [p.model for p in group])
        for name in dict.fromkeys(p.name for p in placed)
        if (group := [p for p in placed if p.name == name])
    ]


def _names(studies: Sequence[ReportData]) -> list[str]:
    """The studies' names, with their numbers where two are the same."""
    plain_names = [str(data.study["name"]) for data in studies]
    return [
        f"{name} ({data.study['id']})" if plain_names.count(name) > 1 else name
        for data, name in zip(studies, plain_names, strict=True)
    ]


def _placed(studies: Sequence[ReportData], names: Sequence[str], runs: Sequence[int]) -> Iterator[Placed]:
    known = {model.run_id for data in studies for model in evaluated(data)}
    missing = [run for run in runs if run not in known]
    if missing:
        raise ValueError(
            f"no evaluated run {', '.join(map(str, missing))} in these studies; they have "
            f"{', '.join(map(str, sorted(known))) or 'none'}"
        )
    series = 0
    for data, name in zip(studies, names, strict=True):
        for model in evaluated(data) if runs else shown(data):
            if not runs or model.run_id in runs:
                yield Placed(data, name, model, series)
                series += 1


def _side(data: ReportData, name: str) -> dict[str, Any]:
    found = answer(data)
    return {"name": name, "subtitle": subtitle(data), "verdict": found.verdict, "sentences": found.sentences}


def _verdict(placed: Sequence[Placed]) -> str:
    rated = [(row, p) for p in placed if (row := headline(p.study, p.model)) is not None and row["ll"] is not None]
    if not rated:
        return "None of these models has a localisation score."
    (row, best), *others = sorted(rated, key=lambda pair: -pair[0]["ll"])
    said = f"The highest LL score is that of {best.model.title} in {best.name}: a mean IoU of {score(row).spoken}."
    if not others:
        return said
    other, second = others[0]
    apart = row["low"] is not None and other["high"] is not None and row["low"] > other["high"]
    sure = "the intervals do not touch" if apart else "the intervals overlap, so the order is not certain"
    return f"{said} Next comes {second.model.title} in {second.name} with {score(other).spoken}: {sure}."


def _models(placed: Sequence[Placed]) -> Table:
    columns = (
        Column("Base model", numeric=False),
        Column("Study", numeric=False),
        Column("Accuracy", small="interval"),
        Column("Test patches"),
        Column("LL score", small="interval"),
        *(Column(plain(name, METHODS).capitalize(), small="LL") for name in BASELINES),
        Column("Lesion erased", small="minus tissue erased"),
    )
    body = []
    for p in placed:
        accuracy = rows(p.study, "table_2_accuracy", run_id=p.model.run_id)[0]
        row = headline(p.study, p.model)
        own = score(row) if row else None
        cells = [Cell(p.model.full), Cell(p.name)]
        cells += [scored(accuracy["accuracy"], accuracy["low"], accuracy["high"]), Cell(count(accuracy["n"]))]
        cells.append(scored(own.value, own.low, own.high, "strong") if own else Cell(DASH))
        others = [score(row, name) if row else None for name in BASELINES]
        cells += [scored(other.value, other.low, other.high) if other else Cell(DASH) for other in others]
        cells.append(_erased(p))
        body.append(TableRow(tuple(cells), series=p.series))
    notes = (
        "Every score is that of the model's own study: over its own test split, at its own threshold rule. Paired "
        "differences on the same samples are in each study's report.",
    )
    return Table("models", "Models", "of all studies", columns, tuple(body), notes)


def _erased(p: Placed) -> Cell:
    key = {"population": "correct_lesions", "group_name": "all"}
    found = rows(p.study, "occlusion_test", run_id=p.model.run_id, **key)
    if not found:
        return Cell(DASH)
    row = found[0]
    return Cell(number(row["difference"], signed=True), interval(row["difference_low"], row["difference_high"]))


def _options(studies: Sequence[ReportData], names: Sequence[str]) -> Table:
    """Every option of the configurations that is not the same in all."""
    flat = [dict(_flat(data.study.get("config") or {})) for data in studies]
    keys = dict.fromkeys(key for found in flat for key in found if key != "name")
    differing = [key for key in keys if len({found.get(key, DASH) for found in flat}) > 1]
    body = [TableRow((Cell(key), *(Cell(found.get(key, DASH)) for found in flat))) for key in differing]
    if not body:
        body = [TableRow((Cell("nothing: the configurations are the same"), *(Cell("") for _ in flat)))]
    columns = (Column("Option", numeric=False), *(Column(name, numeric=False) for name in names))
    return Table("options", "Options", "that are not the same", columns, tuple(body))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)


def _patches(studies: Sequence[ReportData], names: Sequence[str]) -> Table:
    columns = (
        Column("Study", numeric=False),
        Column("Classes"),
        Column("Training"),
        Column("Validation"),
        Column("Test"),
        Column("Patients in several splits"),
        Column("Lesions left out"),
        Column("Sample set", numeric=False),
    )
    body = []
    for data, name in zip(studies, names, strict=True):
        counts = frame(data, "table_1_patches")
        shared = sum(row["shared"] for row in rows(data, "split_check", unit="patient"))
        left_out = int(frame(data, "exclusion_reasons")["lesions"].sum() or 0)
        cells = [Cell(name), Cell(count(frame(data, "labels").height))]
        cells += [Cell(count(int(counts[part].sum() or 0))) for part in ("train", "validation", "test")]
        cells += [Cell(count(shared), mark="bad" if shared else ""), Cell(count(left_out))]
        cells.append(Cell(str(data.study["sample_set_digest"])[:12], mark="mono"))
        body.append(TableRow(tuple(cells)))
    notes = ("Studies with the same sample set were trained and tested on the very same patches.",)
    return Table("patches", "Patches", "of each study", columns, tuple(body), notes)


def _origins(studies: Sequence[ReportData], names: Sequence[str]) -> Table:
    columns = (
        Column("Study", numeric=False),
        Column("Number"),
        Column("Entered", numeric=False),
        Column("Seed"),
        Column("Study digest", numeric=False),
        Column("Data set digest", numeric=False),
        Column("lesionlens and torch", numeric=False),
    )
    body = []
    for data, name in zip(studies, names, strict=True):
        created = data.study.get("created_at")
        versions = data.study.get("versions") or {}
        cells = (
            Cell(name),
            Cell(str(data.study["id"])),
            Cell(f"{created:%-d %B %Y, %H:%M %Z}" if created else DASH),
            Cell(str(lookup(data.study.get("config"), "seed"))),
            Cell(str(data.study["digest"])[:12], mark="mono"),
            Cell(str(data.study["dataset_digest"])[:12], mark="mono"),
            Cell(f"{versions.get('lesionlens', DASH)}, {versions.get('torch', DASH)}"),
        )
        body.append(TableRow(cells))
    return Table("origins", "Studies", "on this page", columns, tuple(body))
