"""Table IV, the localisation score beside its baselines, and calcification and mass apart."""

from lesionlens.records import ReportData
from lesionlens.reporting.data import Model, Row, confidence, rows, shown
from lesionlens.reporting.formatting import (
    BACKBONES,
    DASH,
    METHODS,
    POLICIES,
    STRATEGIES,
    TARGETS,
    count,
    interval,
    number,
    plain,
)
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables.published import Published
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow, difference, plain_number, scored
from lesionlens.reporting.tables.study import exact, same_classes, unmatched, without_published
from lesionlens.reporting.verdict import BASELINES, VERDICTS, Standing, by_group, headline, score, standings

CBIS = ("cbis_kaggle", "cbis_dicom")
MARKS = {"above": "good", "same": "open", "below": "bad", "none": ""}


def table_4(data: ReportData, known: Published) -> Table:
    """LL, accuracy and their product in the study's layout, with the published values of the same model."""
    columns = (
        Column("Base model", numeric=False),
        Column("LL score", small=f"{confidence(data)} interval"),
        Column("Lesions", small="classified correctly"),
        Column("Accuracy", small=f"{confidence(data)} interval"),
        Column("Accuracy × LL", small=f"{confidence(data)} interval"),
        Column("LL score", small="published"),
        Column("Difference", small=f"{confidence(data)} interval"),
        Column("Accuracy × LL", small="published"),
    )
    found = shown(data)
    body = [_row(model, row, known) for model in found if (row := headline(data, model)) is not None]
    matched = {(model.backbone, model.strategy) for model in found}
    for (backbone, strategy), run in known.runs.items():
        if (backbone, strategy) not in matched:
            title = f"{plain(backbone, BACKBONES)}, {plain(strategy, STRATEGIES)}"
            cells = [Cell(title), Cell(DASH), Cell(DASH), plain_number(run["accuracy"]), Cell(DASH)]
            cells += [plain_number(run["localization"], 3), Cell(DASH)]
            cells.append(plain_number(run["accuracy_x_localization"], 3))
            body.append(TableRow(tuple(cells), "published"))
    meaning = (
        "LL: mean IoU of the marked region with the annotation, over correctly classified lesion patches. "
        "Means over different subsets of samples are not strictly comparable between models.",
    )
    theirs = (
        "The study says neither at which threshold it cut the maps nor how it counted background, which has no "
        "annotation. Counting background as 0 would lower its best model's score by about 28 %. Here background "
        "stays out, and the whole threshold curve is shown below.",
    )
    beside = same_classes(data, known)
    notes = (*unmatched(found, known), *meaning, *theirs, *exact(found, known)) if beside else meaning
    title = "Lesion localisation beside accuracy"
    table = Table("table-4", "Table IV", title, columns, tuple(body), notes, query("table_4", data))
    return table if beside else without_published(table)


def _row(model: Model, row: Row, known: Published) -> TableRow:
    own, theirs = score(row), known.match(model)
    cells = (
        Cell(model.title),
        scored(own.value, own.low, own.high, "strong"),
        Cell(count(own.n)),
        scored(row["accuracy"], row["accuracy_low"], row["accuracy_high"]),
        scored(row["accuracy_x_ll"], row["accuracy_x_ll_low"], row["accuracy_x_ll_high"], digits=3),
        plain_number(theirs["localization"] if theirs else None, 3),
        difference(own.value, own.low, own.high, theirs["localization"] if theirs else None),
        plain_number(theirs["accuracy_x_localization"] if theirs else None, 3),
    )
    return TableRow(cells, series=model.series)


def _heads() -> list[Column]:
    return [
        Column(plain(name, METHODS).capitalize(), small="LL, and difference", third="difference") for name in BASELINES
    ]


def baselines(data: ReportData) -> Table:
    """Every model's LL beside what regions score that ignore the image, and how the interval lies to each."""
    columns = (Column("Base model", numeric=False), Column("LL score", small=f"{confidence(data)} interval"), *_heads())
    body = []
    for model in shown(data):
        row = headline(data, model)
        if row is not None:
            own = score(row)
            cells = [
                Cell(model.title),
                scored(own.value, own.low, own.high, "strong"),
                *_standing_cells(standings(data, model)),
            ]
            body.append(TableRow(tuple(cells), series=model.series))
    notes = (
        "All on the same lesions as the model's own score. Below each baseline stands the model's score minus the "
        "baseline's, paired lesion by lesion, with its interval. Above: the whole interval of this difference lies "
        "above 0. Not told apart: it holds 0.",
        "Centred disc: a disc of the training lesions' mean size. Mean training mask: where training lesions lie on "
        "average. Random weights: the same architecture, untrained, at the same threshold rule; one draw of weights, "
        "and another would score a little otherwise.",
    )
    return Table(
        "baselines",
        "Baselines",
        "Does the score mean anything?",
        columns,
        tuple(body),
        notes,
        sql=query("baselines", data),
    )


def _standing_cells(placed: tuple[Standing, ...]) -> list[Cell]:
    known = {standing.baseline: standing for standing in placed}
    cells = []
    for name in BASELINES:
        if name not in known:
            cells.append(Cell(DASH))
            continue
        other = known[name]
        own = interval(other.score.low, other.score.high)
        cells.append(Cell(number(other.score.value), own, MARKS[other.verdict], third=_told(other)))
    return cells


def _told(standing: Standing) -> str:
    gap, words = standing.difference, VERDICTS[standing.verdict]
    if standing.verdict == "none":
        return words
    unbroken = interval(gap.low, gap.high).replace(DASH, " to ").replace(" ", "\u00a0")
    return f"{words}: {number(gap.value, signed=True)} ({unbroken})"


def groups(data: ReportData) -> Table:
    """LL of every label group apart, beside its own baselines."""
    columns = (
        Column("Base model", numeric=False),
        Column("Lesions", numeric=False),
        Column("Count", small="classified correctly"),
        Column("LL score", small=f"{confidence(data)} interval"),
        *_heads(),
    )
    body = []
    for model in shown(data):
        for group, own, placed in by_group(data, model):
            cells = [Cell(model.title), Cell(group), Cell(count(own.n)), scored(own.value, own.low, own.high, "strong")]
            body.append(TableRow((*cells, *_standing_cells(placed)), series=model.series))
    cbis = data.study.get("dataset_kind") in CBIS
    pooled = "Pooled scores hide the difference between groups."
    outlines = (
        "In CBIS-DDSM the outlines of calcifications were not refined by its makers and are far larger than the "
        "calcifications themselves."
    )
    notes = (pooled, outlines) if cbis else (pooled,)
    return Table(
        "groups",
        "By kind of lesion",
        "Localisation of each kind of lesion",
        columns,
        tuple(body),
        notes,
        sql=query("groups", data),
    )


def variants(data: ReportData) -> Table:
    """The same score under every stored method, target class and threshold policy."""
    columns = (
        Column("Base model", numeric=False),
        Column("Map", numeric=False),
        Column("Explains", numeric=False),
        Column("Threshold", numeric=False),
        Column("LL score", small=f"{confidence(data)} interval"),
        Column("Lesions"),
    )
    body = []
    for model in shown(data):
        for row in rows(data, "table_4_localization", run_id=model.run_id):
            own = score(row)
            words = plain(row["policy"], POLICIES)
            cells = (
                Cell(model.title),
                Cell(plain(row["method"], METHODS)),
                Cell(plain(row["target"], TARGETS)),
                Cell(words, "headline score" if row["headline"] else ""),
                scored(own.value, own.low, own.high, "strong" if row["headline"] else ""),
                Cell(count(own.n)),
            )
            body.append(TableRow(cells, series=model.series))
    return Table(
        "variants",
        "Other definitions",
        "The score under other definitions",
        columns,
        tuple(body),
        sql=query("variants", data),
    )


OTHER_SCORES = {
    "hit_rate": "Hit rate",
    "energy": "Energy inside",
    "rank_accuracy": "Relevance rank accuracy",
    "pixel_ap": "Pixel average precision",
}


def _without_threshold(data: ReportData, model: Model, method: str, target: str) -> list[Cell]:
    key = {"population": "correct_lesions", "group_name": "all", "method": method, "target": target}
    found = {row["name"]: row for row in rows(data, "run_scores", run_id=model.run_id, **key)}
    if found.keys().isdisjoint(OTHER_SCORES):
        return []
    scores = [found.get(name) for name in OTHER_SCORES]
    return [scored(score["value"], score["low"], score["high"]) if score else Cell(DASH) for score in scores]


def other_scores(data: ReportData) -> Table:
    """Localisation scores that need no threshold, over correctly classified lesions, beside those of baselines."""
    columns = (
        Column("Base model", numeric=False),
        Column("Map", numeric=False),
        *(Column(words, small=f"{confidence(data)} interval") for words in OTHER_SCORES.values()),
    )
    body = []
    for model in shown(data):
        row = headline(data, model)
        if row is None:
            continue
        shown_maps = [(row["method"], row["target"]), ("random_weights", "predicted"), ("centred_disc", "none")]
        for n, (method, target) in enumerate(shown_maps):
            found = _without_threshold(data, model, method, target)
            if found:
                cells = (Cell(model.title), Cell(plain(method, METHODS)), *found)
                body.append(TableRow(cells, "published" if n else "", model.series))
    notes = (
        "Hit rate: the map's maximum lies in the annotation. Energy inside: share of the map's sum that lies in the "
        "annotation. Relevance rank accuracy: share of the strongest pixels, as many as the annotation has, that lie "
        "in it. Pixel average precision: area under the precision-recall curve over all thresholds.",
    )
    return Table(
        "other-scores",
        "Without a threshold",
        "Scores that need no threshold",
        columns,
        tuple(body),
        notes,
        sql=query("other_scores", data),
    )
