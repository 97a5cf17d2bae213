"""Charts as data: what is drawn and where. Templates only write the SVG; colours come from the style sheet."""

from dataclasses import dataclass, field

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.axes import Scale, Tick, path, spread, ticks
from lesionlens.reporting.localization import BASELINES, Score, headline, score
from lesionlens.reporting.models import Model, evaluated, frame, rows, shown
from lesionlens.reporting.wording import METHODS, interval, number, plain


@dataclass(frozen=True, slots=True)
class Line:
    """A path with a direct label at its end. `kind` is a style-sheet class beside the series colour."""

    d: str
    series: int | None
    kind: str = ""
    label: str = ""
    label_x: float = 0
    label_y: float = 0


@dataclass(frozen=True, slots=True)
class Dot:
    """A mark; `title` is its tooltip. `kind` is a style-sheet class."""

    x: float
    y: float
    series: int | None
    kind: str = ""
    title: str = ""
    r: float = 3.5


@dataclass(frozen=True, slots=True)
class Text:
    """A word in the chart; `anchor` as in SVG."""

    x: float
    y: float
    text: str
    kind: str = ""
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart in user units; `left`, `right`, `top`, `bottom` bound the plotting area."""

    name: str
    title: str
    summary: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_label: str = ""
    y_label: str = ""
    lines: tuple[Line, ...] = ()
    dots: tuple[Dot, ...] = ()
    texts: tuple[Text, ...] = field(default=())


ROW = 46
GLYPHS = {"whole_patch": "square", "centred_disc": "ring", "mean_mask": "diamond", "random_weights": "cross"}


def forest(data: ReportData) -> Chart | None:
    """Every model's localisation score with interval, and its four baselines as marks on the same line."""
    found = [(model, row) for model in shown(data) if (row := headline(data, model)) is not None]
    scores = [(model, score(row), {name: score(row, name) for name in BASELINES}) for model, row in found]
    scores = [entry for entry in scores if entry[1].value is not None]
    if not scores:
        return None
    tops = [s.high or s.value or 0 for _, own, others in scores for s in (own, *others.values())]
    left, right, top = 250.0, 720.0, 14.0
    bottom = top + ROW * len(scores)
    x = Scale(0, min(1.0, max(0.1, max(tops) * 1.08)), left, right)
    lines, dots, texts = [], [], []
    for index, (model, own, others) in enumerate(scores):
        y = top + ROW * (index + 0.5)
        texts.append(Text(left - 14, y + 4, model.title, "row", "end"))
        lines += _whisker(x, own, y, model.series, "interval")
        dots.append(Dot(x(own.value or 0), y, model.series, "own", f"{model.title}: {own.spoken}", 6))
        texts.append(Text(x(own.value or 0), y - 11, number(own.value), f"value s{model.series % 8}", "middle"))
        for name, other in others.items():
            if other.value is not None:
                lines += _whisker(x, other, y + 11, None, "baseline")
                title = f"{plain(name, METHODS)}: {other.spoken}"
                dots.append(Dot(x(other.value), y + 11, None, GLYPHS[name], title, 4))
    spoken = [f"{model.title} {own.spoken}" for model, own, _ in scores]
    return Chart(
        "forest", "Localisation score of every model beside its baselines", "; ".join(spoken),
        740, bottom + 44, left, right, top, bottom, ticks(x, 6), (),
        "mean IoU of the marked region with the annotation", "", tuple(lines), tuple(dots), tuple(texts),
    )  # fmt: skip


def _whisker(x: Scale, own: Score, y: float, series: int | None, kind: str) -> list[Line]:
    if own.low is None or own.high is None:
        return []
    ends = (max(own.low, x.low), min(own.high, x.high))
    return [Line(path([(x(ends[0]), y), (x(ends[1]), y)]), series, kind)]


def learning_curves(data: ReportData) -> tuple[Chart, ...]:
    """Training and validation loss of every model over epochs, its phases and the best epoch marked."""
    found = [
        (model, sorted(rows(data, "epochs", run_id=model.run_id), key=lambda r: r["epoch"])) for model in shown(data)
    ]
    found = [(model, epochs) for model, epochs in found if epochs]
    if not found:
        return ()
    losses = [v for _, epochs in found for r in epochs for v in (r["train_loss"], r["validation_loss"])]
    y = Scale(0, max(losses) * 1.05, 196, 26)
    return tuple(_learning_curve(model, epochs, y) for model, epochs in found)


PHASES = ("head", "+ last unit", "+ inner unit")


def _learning_curve(model: Model, epochs: list[dict[str, float]], y: Scale) -> Chart:
    left, right = 40.0, 268.0
    x = Scale(epochs[0]["epoch"], max(epochs[-1]["epoch"], epochs[0]["epoch"] + 1), left, right)
    names = {"train_loss": "training", "validation_loss": "validation"}
    ends = spread([y(epochs[-1][name]) for name in names], 13, y.end, y.start)
    lines = [
        Line(path([(x(r["epoch"]), y(r[name])) for r in epochs]), model.series, name, words, right + 6, at + 4)
        for (name, words), at in zip(names.items(), ends, strict=True)
    ]
    texts = []
    starts = {r["phase"]: r["epoch"] for r in reversed(epochs)}
    if model.strategy == "gradual":
        for place, (phase, epoch) in enumerate(sorted(starts.items())):
            at = x(epoch) - (0 if place == 0 else x(1) - x(0)) / 2
            if place:
                lines.append(Line(path([(at, y.end), (at, y.start)]), None, "phase"))
            words = PHASES[int(phase) - 1] if int(phase) <= len(PHASES) else f"phase {phase}"
            texts.append(Text(at + 3, y.end - 5, words, "small"))
    best = min(epochs, key=lambda r: r["validation_loss"])
    dot = Dot(x(best["epoch"]), y(best["validation_loss"]), model.series, "own", f"best epoch {best['epoch']}", 5)
    texts.append(
        Text(dot.x, dot.y - 10, f"epoch {best['epoch']}: {number(best['validation_loss'])}", "value", "middle")
    )
    summary = (
        f"Lowest validation loss {number(best['validation_loss'])} at epoch {best['epoch']} of {len(epochs)}, "
        f"validation accuracy {number(best['validation_accuracy'])} there."
    )
    return Chart(
        f"learning-{model.run_id}", model.title, summary, 340, 236, left, right, y.end, y.start,
        ticks(x, 5), ticks(y, 4), "epoch", "loss", tuple(lines), (dot,), tuple(texts),
    )  # fmt: skip


def threshold_curves(data: ReportData) -> Chart | None:
    """Mean IoU against the threshold for every model and its random-weights twin."""
    curves = frame(data, "iou_curves").filter(pl.col("iou").is_not_null())
    known = {model.run_id: model for model in evaluated(data) if model.selected}
    lines = []
    x = Scale(0, 1, 46, 480)
    top = curves["iou"].max() if curves.height else None
    if not isinstance(top, float):
        return None
    y = Scale(0, max(0.05, top * 1.1), 270, 16)
    for (run_id, method), part in curves.partition_by("run_id", "method", as_dict=True, maintain_order=True).items():
        if run_id not in known:
            continue
        points = part.sort("threshold").select("threshold", "iou").rows()
        kind = "random" if method == "random_weights" else "curve"
        label = "" if method == "random_weights" else known[run_id].short
        lines.append((known[run_id], kind, label, points))
    ends = spread([y(points[-1][1]) for _, _, label, points in lines if label], 14, y.end, y.start)
    places = iter(ends)
    drawn = tuple(
        Line(
            path([(x(t), y(v)) for t, v in points]), model.series, kind, label,
            x(points[-1][0]) + 8, next(places) + 4 if label else 0,
        )
        for model, kind, label, points in lines
    )  # fmt: skip
    best = [f"{label} {number(max(v for _, v in points))}" for _, _, label, points in lines if label]
    return Chart(
        "thresholds", "Mean IoU at every threshold", f"Highest mean IoU: {', '.join(best)}.", 620, 314, 46, 480,
        y.end, y.start, ticks(x, 5), ticks(y, 5), "threshold of the scaled map", "mean IoU", drawn,
    )  # fmt: skip


def confidence_iou(data: ReportData) -> tuple[Chart, ...]:
    """Confidence in the predicted class against IoU, one chart per model; wrong predictions are open marks."""
    charts = []
    samples = frame(data, "sample_results")
    for model in shown(data):
        of_run = samples.filter((pl.col("run_id") == model.run_id) & pl.col("iou").is_not_null()).to_dicts()
        if not of_run:
            continue
        x, y = Scale(0, 1, 40, 270), Scale(0, 1, 222, 16)
        dots = tuple(
            Dot(x(row["confidence"]), y(row["iou"]), model.series, "hit" if row["correct"] else "miss", "", 2.6)
            for row in of_run
            if row["confidence"] is not None
        )
        right = [row["iou"] for row in of_run if row["correct"]]
        wrong = [row["iou"] for row in of_run if not row["correct"]]
        means = [sum(part) / len(part) if part else None for part in (right, wrong)]
        summary = f"Mean IoU {number(means[0])} where the class is right, {number(means[1])} where it is wrong."
        charts.append(
            Chart(
                f"confidence-{model.run_id}",
                model.title,
                summary,
                290,
                262,
                40,
                270,
                16,
                222,
                ticks(x, 5),
                ticks(y, 5),
                "confidence in the predicted class",
                "IoU",
                (),
                dots,
            )
        )
    return tuple(charts)


def accuracy_strip(data: ReportData) -> list[tuple[Model, str, str]]:
    """(model, accuracy, interval) for the models shown, as written in the key figures."""
    result = []
    for model in shown(data):
        row = rows(data, "table_2_accuracy", run_id=model.run_id)[0]
        result.append((model, number(row["accuracy"]), interval(row["low"], row["high"])))
    return result
