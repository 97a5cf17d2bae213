"""Did the lesion matter? Quadrants, erase test, shortcut audit and subgroups as tables."""

from lesionlens.records import ReportData
from lesionlens.reporting.data import Model, Row, confidence, frame, rows, shown
from lesionlens.reporting.formatting import DASH, METHODS, count, interval, number, plain
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow, scored
from lesionlens.reporting.verdict import BASELINES, headline

FEATURES = {
    "majority": "nothing (always the most frequent class)",
    "size": "size and aspect of the window",
    "intensity": "grey values: mean, spread, percentiles",
    "sharpness": "sharpness",
    "all": "all of these",
}
SUBGROUPS = {
    "lesion_type": "Lesion",
    "pathology": "Pathology",
    "mask_fraction": "Share of the patch inside the annotation",
    "subtlety": "Subtlety (1 subtle to 5 obvious)",
    "breast_density": "Breast density (BI-RADS)",
    "view": "View",
}
QUADRANTS = {
    (True, True): "Right, looking at the lesion",
    (True, False): "Right, looking elsewhere",
    (False, True): "Wrong, looking at the lesion",
    (False, False): "Wrong, looking elsewhere",
}


def quadrants(data: ReportData) -> Table:
    """Per model and class: right or wrong, looking at the lesion or elsewhere, as counts and shares."""
    names = {row["code"]: row["name"] for row in frame(data, "labels").to_dicts()} | {"all": "all lesions"}
    columns = (
        Column("Base model", numeric=False),
        Column("Class", numeric=False),
        Column("Lesions"),
        *(Column(words, small="count and share") for words in QUADRANTS.values()),
    )
    body = []
    for model in shown(data):
        by_class: dict[str, list[Row]] = {}
        for row in rows(data, "quadrants", run_id=model.run_id):
            by_class.setdefault(row["code"], []).append(row)
        for code, found in by_class.items():
            placed = {(row["correct"], row["located"]): row for row in found}
            lines = _located(data, model) if code == "all" else ("", "")
            lesions = Cell(count(found[0]["lesions"]), lines[0], third=lines[1])
            cells = [Cell(model.title), Cell(names.get(code, code)), lesions]
            for key in QUADRANTS:
                cells.append(_counted(placed.get(key), "bad" if key == (True, False) else ""))
            body.append(TableRow(tuple(cells), "total" if code == "all" else "", series=model.series))
    notes = (
        "Looking at the lesion: the map's maximum lies in the annotation. Right while looking elsewhere is what a "
        "shortcut produces. Examples of each stand below; the gallery lists all of them.",
        f"Shares with their {confidence(data)} intervals. Below the number of all lesions: the share at which the "
        "model looks, right or wrong, and the share at which the same network with random weights looks, by chance.",
    )
    return Table(
        "quadrants", "Quadrants", "Right for the right reason?", columns, tuple(body), notes, query("quadrants", data)
    )


def _counted(row: Row | None, mark: str) -> Cell:
    if row is None:
        return Cell("0")
    return Cell(count(row["n"]), _percent(row["proportion"], row["low"], row["high"]), mark if row["n"] else "")


def _percent(share: float | None, low: float | None, high: float | None) -> str:
    """`42 % (33–51 %)`; nothing for None."""
    if share is None:
        return ""
    around = "" if low is None or high is None else interval(100 * low, 100 * high, 0)
    return f"{number(100 * share, 0)}\u00a0%" + (f"\u00a0({around}\u00a0%)" if around else "")


def _located(data: ReportData, model: Model) -> tuple[str, str]:
    """At how many of all lesions the model's map looks, and at how many that of random weights, as two lines."""
    key = {"name": "hit_rate", "target": "predicted", "population": "lesions", "group_name": "all"}
    found = {row["method"]: row for row in rows(data, "run_scores", run_id=model.run_id, **key)}
    own, chance = found.get((headline(data, model) or {}).get("method")), found.get("random_weights")
    return _looks("map looks at", own), _looks("by chance", chance)


def _looks(words: str, row: Row | None) -> str:
    share = _percent(row["value"], row["low"], row["high"]) if row else ""
    return f"{words} {share}" if share else ""


def erase(data: ReportData) -> Table:
    """Per model: how far the predicted class's probability falls without the lesion, and without as much tissue."""
    columns = (
        Column("Base model", numeric=False),
        Column("Lesions", numeric=False),
        Column("Count"),
        Column("Lesion erased", small="mean fall of probability"),
        Column("Tissue erased", small="same shape beside it"),
        Column("Difference", small=f"{confidence(data)} interval"),
    )
    body = []
    for model in shown(data):
        found = rows(data, "occlusion_test", run_id=model.run_id, population="correct_lesions")
        for row in found:
            cells = [Cell(model.title), Cell("all" if row["group_name"] == "all" else row["group_name"])]
            cells.append(Cell(count(row["n"])))
            cells += [_part(row, name) for name in ("lesion_drop", "control_drop")]
            low = row["difference_low"]
            mark = "" if low is None else "good" if low > 0 else "open"
            cells.append(_part(row, "difference", mark))
            body.append(
                TableRow(tuple(cells), "total" if row["group_name"] == "all" and len(found) > 1 else "", model.series)
            )
    notes = (
        "Over correctly classified lesions with room for a control. The lesion is inpainted from its surroundings and "
        "the patch classified again; then the same with an area of the same shape beside it. A difference whose "
        "interval lies above zero says that the decision used the lesion. Inpainting leaves traces of its own, which "
        "is why the control is subtracted.",
    )
    title = "Does the decision need the lesion?"
    return Table("erase", "Erase test", title, columns, tuple(body), notes, query("erase", data))


def _part(row: Row, name: str, mark: str = "") -> Cell:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return Cell(number(row[name], signed=True), interval(low, high), mark)


def shortcuts(data: ReportData) -> Table:
    """What a logistic regression achieves from numbers that know nothing of the lesion's shape."""
    columns = (
        Column("The regression sees", numeric=False),
        Column("Accuracy", small=f"{confidence(data)} interval"),
        Column("Weakest network", small="of those shown"),
        Column("Strongest network", small="of those shown"),
    )
    runs = [model.run_id for model in shown(data)]
    networks = sorted(
        (row for row in rows(data, "table_2_accuracy") if row["run_id"] in runs and row["accuracy"] is not None),
        key=lambda row: float(row["accuracy"]),
    )
    ends = [scored(row["accuracy"], row["low"], row["high"]) for row in networks[:1] + networks[-1:]]
    audit = rows(data, "shortcut_audit")
    body = []
    for row in audit:
        close = bool(networks) and row["high"] is not None and row["high"] >= networks[-1]["accuracy"]
        accuracy = scored(row["accuracy"], row["low"], row["high"], "bad" if close else "")
        cells = (Cell(plain(row["features"], FEATURES)), accuracy, *(ends or [Cell(DASH)] * 2))
        body.append(TableRow(cells, "total" if row["features"] == "all" else ""))
    notes = (
        f"Over the test split, {count(max((row['n'] for row in audit), default=0))} patches. A class that can be told "
        "from the window's size or its grey values alone needs no look at the lesion. Red: the interval reaches the "
        "accuracy of the strongest network shown.",
    )
    title = "What do trivial features achieve?"
    return Table("shortcuts", "Shortcut audit", title, columns, tuple(body), notes, query("shortcuts", data))


def subgroups(data: ReportData) -> tuple[Table, ...]:
    """One table per attribute: accuracy and LL of the best-classifying model's samples, by its values."""
    found = frame(data, "subgroup_scores")
    present = [name for name in SUBGROUPS if name in found["subgroup"].unique().to_list()]
    return tuple(_subgroup(data, name) for name in present)


def _subgroup(data: ReportData, subgroup: str) -> Table:
    columns = (
        Column("Base model", numeric=False),
        Column(SUBGROUPS[subgroup], numeric=False),
        Column("Patches"),
        Column("Accuracy", small=f"{confidence(data)} interval"),
        Column("LL score", small=f"{confidence(data)} interval"),
        *(Column(plain(name, METHODS).capitalize(), small="LL") for name in BASELINES),
    )
    body = [row for model in shown(data) for row in _levels(data, model, subgroup)]
    return Table(
        f"subgroup-{subgroup.replace('_', '-')}", "By", SUBGROUPS[subgroup][0].lower() + SUBGROUPS[subgroup][1:],
        columns,
        tuple(body), sql=query("subgroups", data),
    )  # fmt: skip


def _levels(data: ReportData, model: Model, subgroup: str) -> list[TableRow]:
    levels: dict[str, dict[str, Row]] = {}
    for row in rows(data, "subgroup_scores", run_id=model.run_id, subgroup=subgroup):
        if row["name"] == "accuracy" or row["population"] == "correct_lesions":
            levels.setdefault(row["level"], {})[row["name"]] = row
    body = []
    for level, found in levels.items():
        accuracy, ll = found.get("accuracy"), found.get("ll")
        cells = [Cell(model.title), Cell(level.replace("_", " ")), Cell(count(accuracy["n"]) if accuracy else DASH)]
        for one in (accuracy, ll):
            cells.append(scored(one["value"], one["low"], one["high"]) if one else Cell(DASH))
        for name in BASELINES:
            cells.append(scored(ll[name], ll[f"{name}_low"], ll[f"{name}_high"]) if ll else Cell(DASH))
        body.append(TableRow(tuple(cells), series=model.series))
    return body
