"""Which run stands for its model: chosen by validation loss among the hyper-parameter sets that were tried."""

from lesionlens.records import ReportData
from lesionlens.reporting.data import confidence, evaluated, rows
from lesionlens.reporting.formatting import BACKBONES, STRATEGIES, count, plain
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow, plain_number, scored


def selection(data: ReportData) -> Table:
    """Every evaluated run, by model and then by validation loss; no rows where each model has one run."""
    columns = (
        Column("Base model", numeric=False),
        Column("Batch size"),
        Column("Rate", small="last unit"),
        Column("Seed"),
        Column("Validation loss"),
        Column("Accuracy", small=f"{confidence(data)} interval"),
        Column("Stands for its model", numeric=False),
    )
    found = [(model, rows(data, "table_2_accuracy", run_id=model.run_id)[0]) for model in evaluated(data)]
    if all(model.selected for model, _ in found):
        found = []
    cells = dict.fromkeys((model.backbone, model.strategy) for model, _ in found)
    body = []
    for key in cells:
        of_cell = [pair for pair in found if (pair[0].backbone, pair[0].strategy) == key]
        of_cell.sort(key=lambda pair: (pair[1]["validation_loss"] is None, pair[1]["validation_loss"] or 0.0))
        title = f"{plain(key[0], BACKBONES)}, {plain(key[1], STRATEGIES)}"
        for model, row in of_cell:
            mark = "strong" if model.selected else ""
            body.append(
                TableRow(
                    (
                        Cell(title),
                        Cell(count(model.batch_size)),
                        Cell(f"{model.unit1_rate:g}"),
                        Cell(str(model.seed)),
                        plain_number(row["validation_loss"], 3, mark),
                        scored(row["accuracy"], row["low"], row["high"], mark),
                        Cell("chosen" if model.selected else "", mark=mark),
                    ),
                    series=model.series if model.selected else None,
                )
            )
    notes = (
        "Of the runs of a model the one with the lowest validation loss is chosen, before its test accuracy is looked "
        "at. The highest test accuracy among several runs is partly luck on these patches: who chooses by it reports "
        "more than the model will reach on others.",
    )
    title = "Which run stands for its model"
    return Table("selection", "Selection", title, columns, tuple(body), notes, query("selection", data))
