"""The same predictions as two-class questions: lesion or background, malignant or benign."""

from lesionlens.records import ReportData
from lesionlens.reporting.data import confidence, rows, shown
from lesionlens.reporting.formatting import BACKBONES, DASH, STRATEGIES, count, plain
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow, scored

SIDES = {"lesion": "lesion or background?", "malignant": "malignant or benign, given that it is a lesion?"}
NOTES = {
    "lesion": "Lesion or background: all patches; the probability of a lesion is the sum over the lesion classes. "
    "Sensitivity is the share of lesions, specificity that of background, whose own side is the more probable one.",
    "malignant": "Malignant or benign: lesion patches, each given that it is a lesion. The probability of malignant is "
    "its share among the lesion classes alone: a lesion that the model takes for background still counts, by the side "
    "it leans to. Sensitivity is that of malignant lesions, specificity that of benign ones.",
}
SCORES = {"auc": "AUC", "accuracy": "Accuracy", "sensitivity": "Sensitivity", "specificity": "Specificity"}


def binary(data: ReportData) -> Table:
    """One row per model and question."""
    columns = (
        Column("Base model", numeric=False),
        Column("Question", numeric=False),
        *(Column(words, small=f"{confidence(data)} interval" if key == "auc" else "") for key, words in SCORES.items()),
        Column("Patches"),
    )
    body = []
    for model in shown(data):
        for side, words in SIDES.items():
            found = {row["score"]: row for row in rows(data, "binary_scores", run_id=model.run_id, side=side)}
            if not found:
                continue
            cells = [Cell(model.title), Cell(words)]
            for key in SCORES:
                row = found.get(key)
                cells.append(scored(row["value"], row["low"], row["high"]) if row else Cell(DASH))
            cells.append(Cell(count(max(row["n"] for row in found.values()))))
            body.append(TableRow(tuple(cells), series=model.series))
    asked = {row["side"] for row in rows(data, "binary_scores")}
    notes = tuple(words for side, words in NOTES.items() if side in asked)
    return Table(
        "binary", "Two classes", "The questions a reader asks", columns, tuple(body), notes, query("binary", data)
    )


def spread_over_seeds(data: ReportData) -> Table:
    """Mean and range over the seeds of a cell of the grid; no rows where every cell has one seed."""
    wanted = {("accuracy", None): "Accuracy", ("ll", "predicted"): "LL score"}
    heads = {row["run_id"]: row for row in rows(data, "table_4_localization", headline=True)}
    method = {(row["method"], row["policy"]) for row in heads.values()}
    columns = (
        Column("Base model", numeric=False),
        Column("Seeds"),
        *(Column(words, small="mean, lowest to highest") for words in wanted.values()),
    )
    cells: dict[tuple[object, ...], dict[str, dict[str, object]]] = {}
    for row in rows(data, "seed_spread"):
        key = (row["backbone"], row["strategy"], row["batch_size"], row["head_rate"], row["unit1_rate"])
        own = row["name"] == "accuracy" and row["population"] == "all"
        placed = row["name"] == "ll" and (row["method"], row["policy"]) in method
        placed = placed and row["target"] == "predicted" and row["population"] == "correct_lesions"
        if row["seeds"] > 1 and row["group_name"] == "all" and (own or placed):
            cells.setdefault(key, {})[row["name"]] = row
    body = [_spread_row(key, found) for key, found in cells.items()]
    notes = (
        "The same cell of the grid, trained from several seeds. A range is no interval: it only grows with seeds.",
    )
    return Table(
        "seeds", "Seeds", "How much does the seed change?", columns, tuple(body), notes, sql=query("seeds", data)
    )


def _spread_row(key: tuple[object, ...], found: dict[str, dict[str, object]]) -> TableRow:
    backbone, strategy, batch, _head, rate = key
    title = f"{plain(backbone, BACKBONES)}, {plain(strategy, STRATEGIES)}, batch {batch}, rate {rate:g}"
    cells = [Cell(title), Cell(count(max(int(str(row["seeds"])) for row in found.values())))]
    for name in ("accuracy", "ll"):
        row = found.get(name)
        cells.append(scored(row["mean"], row["lowest"], row["highest"]) if row else Cell(DASH))  # type: ignore[arg-type]
    return TableRow(tuple(cells))
