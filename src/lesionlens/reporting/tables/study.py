"""Tables I to III in the study's layout, with the published values beside this study's."""

from dataclasses import replace

from lesionlens.records import ReportData
from lesionlens.reporting.data import Model, Row, confidence, frame, rows, shown
from lesionlens.reporting.formatting import (
    BACKBONES,
    DASH,
    STRATEGIES,
    STRATEGY_NUMBERS,
    count,
    plain,
)
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables.published import Published
from lesionlens.reporting.tables.spec import (
    Cell,
    Column,
    Table,
    TableRow,
    class_words,
    difference,
    plain_number,
    scored,
)


def strategy(code: str) -> Cell:
    """`gradual unfreezing` with the study's own `Strategy 1` below."""
    return Cell(plain(code, STRATEGIES), STRATEGY_NUMBERS.get(code, ""))


def unmatched(found: tuple[Model, ...], known: Published) -> tuple[str, ...]:
    """A note on models that have no published counterpart."""
    without = [model for model in found if known.match(model) is None]
    if not without:
        return ()
    names = ", ".join(dict.fromkeys(plain(model.backbone, BACKBONES) for model in without))
    return (
        f"The study published no run of {names} with the strategies used here, so no difference is shown for these. "
        "Published rows are for orientation.",
    )


def exact(found: tuple[Model, ...], known: Published) -> tuple[str, ...]:
    """A note on what a difference and its interval are, where any is shown."""
    if all(known.match(model) is None for model in found):
        return ()
    return (
        "A difference is this study minus the published value. Its interval is this study's own: the published value, "
        "which came without one, is taken as exact.",
    )


def same_classes(data: ReportData, known: Published) -> bool:
    """Whether this study has the published classes in the published order."""
    return tuple(frame(data, "labels").sort("ordinal")["code"].to_list()) == known.classes


def without_published(table: Table) -> Table:
    """The table without its published columns and rows."""
    kept = [n for n, c in enumerate(table.columns) if c.small != "published" and c.text != "Difference"]
    body = tuple(replace(row, cells=tuple(row.cells[n] for n in kept)) for row in table.rows if row.mark != "published")
    return replace(table, columns=tuple(table.columns[n] for n in kept), rows=body)


def table_2(data: ReportData, known: Published) -> Table:
    """Accuracy on test patches with interval, beside the published accuracy of the same backbone and strategy."""
    columns = (
        Column("Base model", numeric=False),
        Column("Training strategy", numeric=False),
        Column("Batch size"),
        Column("Accuracy", small=f"{confidence(data)} interval"),
        Column("Epochs", small="at the best validation loss"),
        Column("Validation loss"),
        Column("Accuracy", small="published"),
        Column("Difference", small=f"{confidence(data)} interval"),
        Column("Epochs", small="published"),
    )
    found = shown(data)
    body = [_accuracy_row(data, model, known) for model in found]
    matched = {(model.backbone, model.strategy) for model in found}
    for key, run in known.runs.items():
        if key not in matched:
            cells = [Cell(plain(key[0], BACKBONES)), strategy(key[1]), Cell(count(run["batch_size"]))]
            cells += [Cell(DASH)] * 3 + [plain_number(run["accuracy"]), Cell(DASH), Cell(count(run["epochs_at_best"]))]
            body.append(TableRow(tuple(cells), "published"))
    reference = known.reference
    cells = [Cell(reference["name"]), Cell(DASH), Cell(count(reference["batch_size"]))]
    cells += [Cell(DASH)] * 3 + [plain_number(reference["accuracy"]), Cell(DASH), Cell(DASH)]
    body.append(TableRow(tuple(cells), "published"))
    chosen = (
        "Where several hyper-parameter sets were tried, the run with the lowest validation loss is shown; "
        "test accuracy chooses none.",
    )
    theirs = "The published accuracies come without intervals. With 619 test patches they would be about ±0.04."
    beside = same_classes(data, known)
    notes = (*unmatched(found, known), *chosen, theirs, *exact(found, known)) if beside else chosen
    table = Table(
        "table-2", "Table II", "Model accuracy on test patches", columns, tuple(body), notes, query("table_2", data)
    )
    return table if beside else without_published(table)


def _accuracy_row(data: ReportData, model: Model, known: Published) -> TableRow:
    row = rows(data, "table_2_accuracy", run_id=model.run_id)[0]
    theirs = known.match(model)
    accuracy = theirs["accuracy"] if theirs else None
    cells = (
        Cell(plain(model.backbone, BACKBONES), _hyper(model)),
        strategy(model.strategy),
        Cell(count(model.batch_size)),
        scored(row["accuracy"], row["low"], row["high"], "strong"),
        Cell(count(row["best_epoch"]), f"of {count(row['epochs'])}"),
        plain_number(row["validation_loss"]),
        plain_number(accuracy),
        difference(row["accuracy"], row["low"], row["high"], accuracy),
        Cell(count(theirs["epochs_at_best"] if theirs else None)),
    )
    return TableRow(cells, series=model.series)


def _hyper(model: Model) -> str:
    extra = model.full.split(", ")[2:]
    return ", ".join(part for part in extra if not part.startswith("batch"))


def table_3(data: ReportData, known: Published) -> Table:
    """One-vs-rest AUC per class, from probabilities and from hard predictions, beside the published values."""
    labels = frame(data, "labels").sort("ordinal").to_dicts()
    beside = same_classes(data, known)
    columns = [Column("Base model", numeric=False), Column("Average", small=f"{confidence(data)} interval")]
    for label in labels:
        code, below = class_words(label["code"], label["name"])
        columns.append(Column(code, small=below))
    codes = ["mean", *(label["code"] for label in labels)]
    body = []
    found = shown(data)
    for model in found:
        values = {row["code"]: row for row in rows(data, "table_3_auc", run_id=model.run_id)}
        for key, words, mark in (("auc", "probabilities", "strong"), ("auc_hard", "hard predictions", "")):
            cells = [Cell(model.title, f"from {words}")]
            cells += [scored(*_with_interval(values.get(code, {}), key), mark) for code in codes]
            body.append(TableRow(tuple(cells), series=model.series))
        theirs = known.match(model)
        if beside and theirs:
            body.append(_published_auc(model.title, theirs, codes))
            body.append(_auc_difference(model, values, theirs, codes))
    if beside:
        matched = {(model.backbone, model.strategy) for model in found}
        for (backbone, name), run in known.runs.items():
            if (backbone, name) not in matched:
                title = f"{plain(backbone, BACKBONES)}, {plain(name, STRATEGIES)}"
                body.append(_published_auc(title, run, codes))
    notes = (
        *unmatched(found, known),
        "The published AUC is not one of probabilities: recomputed as (recall + specificity) / 2 from the published "
        "reports it matches all twenty class values within rounding. So both kinds are shown; compare the published "
        "rows with those from hard predictions, and use the one from probabilities for everything else.",
        *exact(found, known),
        "The study's text names strategy 1 of ResNet50 as best; its own table says strategy 2.",
    )
    return Table(
        "table-3",
        "Table III",
        "One-vs-rest area under the ROC curve",
        tuple(columns),
        tuple(body),
        notes if beside else ("From probabilities is the one to use.",),
        query("table_3", data),
    )


def _with_interval(row: Row, key: str) -> tuple[float | None, float | None, float | None]:
    return row.get(key), row.get(f"{key}_low"), row.get(f"{key}_high")


def _auc_difference(model: Model, values: dict[str, Row], theirs: dict[str, Row], codes: list[str]) -> TableRow:
    cells = [Cell(model.title, "difference, from hard predictions")]
    for code in codes:
        cells.append(difference(*_with_interval(values.get(code, {}), "auc_hard"), theirs["auc_hard"].get(code)))
    return TableRow(tuple(cells), series=model.series)


def _published_auc(title: str, run: dict[str, dict[str, float]], codes: list[str]) -> TableRow:
    cells = [Cell(title, "published, from hard predictions")]
    cells += [plain_number(run["auc_hard"].get(code)) for code in codes]
    return TableRow(tuple(cells), "published")
