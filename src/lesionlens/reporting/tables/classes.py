"""What is taken for what: confusion matrices and classification reports, one per model."""

from lesionlens.records import ReportData
from lesionlens.reporting.data import Model, Row, confidence, frame, rows, shown
from lesionlens.reporting.formatting import count, interval, number
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow, class_words, scored


def confusion(data: ReportData) -> tuple[tuple[Model, Table], ...]:
    """(model, matrix) with row shares, their intervals, and counts."""
    labels = frame(data, "labels").sort("ordinal").to_dicts()
    heads = [class_words(label["code"], label["name"]) for label in labels]
    columns = (
        Column("True class", numeric=False),
        *(Column(code, small=below, third="patches") for code, below in heads),
    )
    result = []
    for model in shown(data):
        found = rows(data, "confusion_matrix", run_id=model.run_id)
        if not found:
            continue
        cells = {(row["true_ordinal"], row["predicted_ordinal"]): row for row in found}
        body = []
        for true, head in zip(labels, heads, strict=True):
            line = [Cell(*head)]
            for predicted in labels:
                row = cells.get((true["ordinal"], predicted["ordinal"]))
                line.append(_confused(row) if row else Cell(number(None), "", "heat", 0.0))
            body.append(TableRow(tuple(line)))
        caption = f"Confusion matrix of {model.title}: rows are true classes, columns predicted ones"
        result.append((model, Table(f"confusion-{model.run_id}", model.title, caption, columns, tuple(body))))
    return tuple(result)


def _confused(row: Row) -> Cell:
    share = row["row_fraction"]
    return Cell(number(share), interval(row["low"], row["high"]), "heat", share or 0.0, count(row["count"]))


def class_reports(data: ReportData) -> tuple[tuple[Model, Table], ...]:
    """Precision, recall, F1 and support of every class, one table per model."""
    names = {row["ordinal"]: row["name"] for row in frame(data, "labels").to_dicts()}
    columns = (
        Column("Class", numeric=False),
        *(Column(words, small=f"{confidence(data)} interval") for words in ("Precision", "Recall", "F1")),
        Column("Support"),
    )
    result = []
    for model in shown(data):
        body = [
            TableRow(
                (
                    Cell(names.get(row["ordinal"], str(row["ordinal"]))),
                    *(scored(row[key], row[f"{key}_low"], row[f"{key}_high"]) for key in ("precision", "recall", "f1")),
                    Cell(count(row["support"])),
                )
            )
            for row in sorted(rows(data, "class_scores", run_id=model.run_id), key=lambda row: row["ordinal"])
        ]
        body += [_average(data, model, kind) for kind in ("macro", "weighted")]
        caption = f"Classification report of {model.title}"
        table = Table(f"classes-{model.run_id}", model.title, caption, columns, tuple(body))
        result.append((model, table))
    return tuple(result)


def _average(data: ReportData, model: Model, kind: str) -> TableRow:
    values = []
    for name in ("precision", "recall", "f1"):
        found = rows(data, "run_scores", run_id=model.run_id, name=f"{kind}_{name}", group_name="all")
        values.append(scored(found[0]["value"], found[0]["low"], found[0]["high"]) if found else Cell(number(None)))
    return TableRow((Cell(f"{kind} average"), *values, Cell("")), "total")
