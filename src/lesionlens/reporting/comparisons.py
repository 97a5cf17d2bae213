"""Paired differences between models on the same samples, corrected for their number."""

from lesionlens.records import ReportData
from lesionlens.reporting.models import confidence, frame, rows, shown
from lesionlens.reporting.queries import query
from lesionlens.reporting.table import Cell, Column, Table, TableRow
from lesionlens.reporting.wording import count, interval, number, p_value, plain

SCORES = {
    "accuracy": "accuracy",
    "ll": "LL score",
    "auc": "AUC",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
}


def comparisons(data: ReportData) -> Table:
    """Every pair of the models shown: difference, interval, corrected p and number of samples."""
    evaluations = dict(frame(data, "table_2_accuracy").select("evaluation_id", "run_id").rows())
    titles = {model.run_id: model.title for model in shown(data)}
    columns = (
        Column("Model", numeric=False),
        Column("Minus", numeric=False),
        Column("Score", numeric=False),
        Column("Difference", small=f"{confidence(data)} interval"),
        Column("Corrected p"),
        Column("Samples", small="shared"),
    )
    body = []
    for row in rows(data, "comparison"):
        pair = [titles.get(evaluations.get(row[side], -1)) for side in ("evaluation_a", "evaluation_b")]
        if pair[0] is None or pair[1] is None:
            continue
        apart = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
        cells = (
            Cell(pair[0]),
            Cell(pair[1]),
            Cell(plain(row["score"], SCORES)),
            Cell(number(row["difference"], signed=True), interval(row["low"], row["high"]), "strong" if apart else ""),
            Cell(p_value(row["p_holm"]).removeprefix("p = ").removeprefix("p ")),
            Cell(count(row["n"])),
        )
        body.append(TableRow(cells))
    total = frame(data, "comparison").height
    every = f" The query lists all {count(total)} comparisons of the study's runs." if total > len(body) else ""
    notes = (
        "Both models of a pair are scored on the same samples. Bold: the interval leaves out zero. p is corrected "
        f"(Holm) for all pairs of the study's runs.{every}",
    )
    return Table(
        "comparisons", "Pairs", "Are the differences real?", columns, tuple(body), notes, sql=query("comparisons", data)
    )
