"""The localisation score over other sets of lesions: all of them, and those that every model classifies correctly."""

from lesionlens.records import ReportData
from lesionlens.reporting.data import Row, confidence, rows, shown
from lesionlens.reporting.formatting import DASH, count, interval, number
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow

POPULATIONS = {
    "correct_lesions": "its own correct ones",
    "lesions": "all lesions",
    "common_lesions": "correct for every model",
}


def populations(data: ReportData) -> Table:
    """LL of every model over each of POPULATIONS, with interval and number of lesions."""
    columns = [Column("Base model", numeric=False)]
    for words in POPULATIONS.values():
        columns += [Column("LL score", small=words), Column("Lesions")]
    body = []
    for model in shown(data):
        found = rows(data, "localization_scores", run_id=model.run_id, headline=True, group_name="all")
        by_population = {row["population"]: row for row in found}
        if by_population:
            cells = [cell for name in POPULATIONS for cell in _pair(by_population.get(name), name == "common_lesions")]
            body.append(TableRow((Cell(model.title), *cells), series=model.series))
    notes = (
        f"Intervals are {confidence(data)}. Each model is right about other lesions, so its own score is a mean over "
        "other samples than another's: easy lesions raise it. Only over the lesions that every run of the study "
        "classifies correctly do the means compare like with like; there may be few.",
    )
    return Table(
        "populations", "Over which lesions", "The same lesions for every model", tuple(columns), tuple(body), notes,
        query("populations", data),
    )  # fmt: skip


def _pair(row: Row | None, strong: bool) -> tuple[Cell, Cell]:
    if row is None:
        return Cell(DASH), Cell(DASH)
    mark = "strong" if strong else ""
    return Cell(number(row["ll"]), interval(row["low"], row["high"]), mark), Cell(count(row["n"]))
