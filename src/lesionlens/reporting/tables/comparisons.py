"""Paired differences between models on the same samples, corrected for their number."""

from lesionlens.records import ReportData
from lesionlens.reporting.data import confidence, frame, rows, shown
from lesionlens.reporting.formatting import count, interval, number, p_value, plain
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow

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
        # both must agree: the interval holds for this pair alone, the corrected p for all pairs of the table
        apart = row["low"] is not None and (row["low"] > 0 or row["high"] < 0) and (row["p_holm"] or 0) < 0.05
        cells = (
            Cell(pair[0]),
            Cell(pair[1]),
            Cell(plain(row["score"], SCORES)),
            Cell(number(row["difference"], signed=True), interval(row["low"], row["high"]), "strong" if apart else ""),
            Cell(p_value(row["p_holm"]).removeprefix("p = ").removeprefix("p ")),
            Cell(count(row["n"])),
        )
        body.append(TableRow(cells))
    return Table(
        "comparisons", "Pairs", "Are the differences real?", columns, tuple(body), _notes(data, len(body)),
        sql=query("comparisons", data),
    )  # fmt: skip


def _notes(data: ReportData, listed: int) -> tuple[str, ...]:
    total = frame(data, "comparison").height
    rest = (
        f"The query lists all {count(total)} comparisons of the study's runs; p of those that are not in this table is "
        "corrected over all pairs of the study."
    )
    return (
        "Both models of a pair are scored on the same samples. Bold: the interval leaves out zero, and the corrected p "
        "is below 0.05.",
        "p takes patients as independent, not their patches: for accuracy by the exact McNemar test, the models "
        "exchanged patient by patient, for LL by a t test of the differences summed by patient. It is corrected (Holm) "
        "over the pairs of this table, each score apart.",
        *([rest] if total > listed else []),
    )
