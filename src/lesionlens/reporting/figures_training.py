"""Learning curves: loss over epochs, phases and the epoch that is evaluated."""

from lesionlens.records import ReportData
from lesionlens.reporting.axes import Scale, path, spread
from lesionlens.reporting.data import Model, Row, models, rows
from lesionlens.reporting.figures import Chart, Dot, Line, Text
from lesionlens.reporting.formatting import number

PHASES = ("head", "+1", "+2")
LOSSES = {"train_loss": "training", "validation_loss": "validation"}


def learning_curves(data: ReportData) -> tuple[Chart, ...]:
    """Training and validation loss of every selected model over epochs, its phases and the best epoch marked."""
    found = []
    for model in models(data):
        epochs = sorted(rows(data, "epochs", run_id=model.run_id), key=lambda row: row["epoch"])
        if epochs and model.selected:
            found.append((model, epochs))
    if not found:
        return ()
    top = max(row[name] for _, epochs in found for row in epochs for name in LOSSES)
    y = Scale(0, top * 1.05, 172, 34)
    return tuple(_curve(model, epochs, y, _best(data, model, epochs)) for model, epochs in found)


def _best(data: ReportData, model: Model, epochs: list[Row]) -> Row:
    """The epoch that the record says was evaluated; the one of lowest validation loss where it says none."""
    scored = rows(data, "table_2_accuracy", run_id=model.run_id)
    named = [row for row in epochs if scored and row["epoch"] == scored[0]["best_epoch"]]
    return named[0] if named else min(epochs, key=lambda row: float(row["validation_loss"]))


def _curve(model: Model, epochs: list[Row], y: Scale, best: Row) -> Chart:
    first, last = epochs[0]["epoch"], epochs[-1]["epoch"]
    x = Scale(first, max(last, first + 1), 30, 166)
    ends = spread([y(epochs[-1][name]) for name in LOSSES], 14, y.end, y.start)
    lines = [
        Line(path((x(row["epoch"]), y(row[name])) for row in epochs), model.series, name, words, x(last) + 8, at + 4)
        for (name, words), at in zip(LOSSES.items(), ends, strict=True)
    ]
    phases, texts = _phases(model, epochs, x, y)
    dot = Dot(x(best["epoch"]), y(best["validation_loss"]), model.series, "own", "", 5)
    summary = (
        f"Evaluated: epoch {best['epoch']} of {len(epochs)}, validation loss {number(best['validation_loss'])}, "
        f"validation accuracy {number(best['validation_accuracy'])}."
    )
    return Chart(
        f"learning-{model.run_id}",
        model.title,
        summary,
        (252, 210),
        x,
        y,
        x_label="epoch",
        y_label="loss",
        lines=(*phases, *lines),
        dots=(dot,),
        texts=tuple(texts),
    )


def _phases(model: Model, epochs: list[Row], x: Scale, y: Scale) -> tuple[list[Line], list[Text]]:
    if model.strategy != "gradual":
        return [], []
    starts = {row["phase"]: row["epoch"] for row in reversed(epochs)}
    lines, texts = [], []
    for place, (phase, epoch) in enumerate(sorted(starts.items())):
        at = x(epoch - 0.5) if place else x.start
        if place:
            lines.append(Line(path([(at, y.end), (at, y.start)]), None, "phase"))
        words = PHASES[phase - 1] if phase <= len(PHASES) else f"phase {phase}"
        texts.append(Text(at + 2, y.end - 4, words, "small"))
    return lines, texts
