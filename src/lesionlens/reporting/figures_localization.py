"""Charts of where the models look: scores beside baselines, every threshold, confidence against IoU."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.axes import Scale, path, spread
from lesionlens.reporting.figures import Chart, Dot, Line, Text
from lesionlens.reporting.localization import BASELINES, Score, headline, score
from lesionlens.reporting.models import Row, frame, shown
from lesionlens.reporting.wording import METHODS, number, plain

ROW = 52
LETTER = 7.4
"""Width of a letter of a curve's name, generously."""
GLYPHS = {"whole_patch": "square", "centred_disc": "ring", "mean_mask": "diamond", "random_weights": "cross"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One model in the forest: its name in two lines, its place in the colour order, its row of Table IV."""

    first: str
    second: str
    series: int
    row: Row

    @property
    def title(self) -> str:
        return f"{self.first}, {self.second}"


def forest(data: ReportData) -> Chart | None:
    """Every model's localisation score with interval, its baselines as marks below it; None without any score."""
    entries = []
    for model in shown(data):
        row = headline(data, model)
        if row is not None:
            first, _, second = model.title.partition(", ")
            entries.append(Entry(first, second, model.series, row))
    return forest_of(entries)


def forest_of(entries: Sequence[Entry]) -> Chart | None:
    """The same for any rows of Table IV."""
    scores = [(e, score(e.row), {name: score(e.row, name) for name in BASELINES}) for e in entries]
    scores = [entry for entry in scores if entry[1].value is not None]
    if not scores:
        return None
    tops = [s.high or s.value or 0 for _, own, others in scores for s in (own, *others.values())]
    x = Scale(0, min(1.0, max(0.1, max(tops) * 1.08)), 190, 720)
    top, lines, dots, texts = 10.0, [], [], []
    for index, (entry, own, others) in enumerate(scores):
        y = top + ROW * index + 22
        texts += [Text(176, y + 2, entry.first, "row", "end"), Text(176, y + 18, entry.second, "small", "end")]
        lines += _whisker(x, own, y, entry.series, "interval")
        dots.append(Dot(x(own.value or 0), y, entry.series, "own", f"{entry.title}: {own.spoken}", 6))
        texts.append(Text(x(own.value or 0), y - 11, number(own.value), f"value s{entry.series % 8}", "middle"))
        for name, other in others.items():
            if other.value is not None:
                lines += _whisker(x, other, y + 14, None, "baseline")
                words = f"{plain(name, METHODS)}: {other.spoken}"
                dots.append(Dot(x(other.value), y + 14, None, GLYPHS[name], words, 4))
    bottom = top + ROW * len(scores)
    return Chart(
        "forest", "Localisation score of every model beside its baselines",
        "; ".join(f"{entry.title}: {own.spoken}" for entry, own, _ in scores), (740, bottom + 40), x, None,
        (top, bottom), "mean IoU of the marked region with the annotation", "", tuple(lines), tuple(dots), tuple(texts),
    )  # fmt: skip


def _whisker(x: Scale, own: Score, y: float, series: int | None, kind: str) -> list[Line]:
    if own.low is None or own.high is None:
        return []
    ends = (max(own.low, x.low), min(own.high, x.high))
    return [Line(path([(x(ends[0]), y), (x(ends[1]), y)]), series, kind)]


def threshold_curves(data: ReportData) -> Chart | None:
    """Mean IoU against the threshold for every model and its random-weights twin; None without any curve.

    A curve is named at the height of its peak, where curves lie apart; at high thresholds all meet near zero.
    """
    models = {model.run_id: model for model in shown(data)}
    methods = {row["method"] for model in models.values() if (row := headline(data, model)) is not None}
    curves = frame(data, "iou_curves").filter(
        pl.col("iou").is_not_null()
        & (pl.col("target") == "predicted")
        & pl.col("run_id").is_in(list(models))
        & pl.col("method").is_in([*methods, "random_weights"])
    )
    if not curves.height:
        return None
    parts = curves.sort("threshold").partition_by("run_id", "method", as_dict=True, maintain_order=True)
    points = {key: part.select("threshold", "iou").rows() for key, part in sorted(parts.items())}
    top = max(value for line in points.values() for _, value in line)
    x, y = Scale(0, 1, 40, 440), Scale(0, max(0.05, top * 1.12), 280, 26)
    own = {key: max(line, key=lambda point: point[1]) for key, line in points.items() if key[1] != "random_weights"}
    places = dict(zip(own, spread([y(peak[1]) for peak in own.values()], 17, y.end, y.start), strict=True))
    lines, beside = [], 452
    for (run_id, method), line in points.items():
        model, drawn = models[run_id], path((x(t), y(v)) for t, v in line)
        if (run_id, method) not in own:
            lines.append(Line(drawn, model.series, "random"))
            continue
        at, peak = own[run_id, method]
        label = f"{model.short} {number(peak)} at {number(at)}"
        lines.append(Line(drawn, model.series, "curve", label, beside, places[run_id, method] + 4))
    peaks = tuple(Dot(x(at), y(peak), models[key[0]].series, "own", "", 4) for key, (at, peak) in own.items())
    words = "; ".join(f"{models[key[0]].title}: {number(peak)} at {number(at)}" for key, (at, peak) in own.items())
    return Chart(
        "thresholds",
        "Mean IoU at every threshold",
        f"Highest mean IoU and its threshold: {words}.",
        (max(660, beside + math.ceil(LETTER * max((len(line.label) for line in lines), default=0))), 318),
        x,
        y,
        x_label="threshold of the scaled map",
        y_label="mean IoU",
        lines=tuple(lines),
        dots=peaks,
    )


def confidence_iou(data: ReportData) -> tuple[Chart, ...]:
    """Confidence in the predicted class against IoU, one chart per model; wrong predictions are open marks."""
    scored = frame(data, "sample_results").filter(pl.col("iou").is_not_null() & pl.col("confidence").is_not_null())
    charts = []
    for model in shown(data):
        samples = scored.filter(pl.col("run_id") == model.run_id)
        if not samples.height:
            continue
        x, y = Scale(0, 1, 28, 230), Scale(0, 1, 200, 24)
        dots = tuple(
            Dot(x(row["confidence"]), y(row["iou"]), model.series, "hit" if row["correct"] else "miss", "", 2.8)
            for row in samples.iter_rows(named=True)
        )
        right, wrong = (samples.filter(pl.col("correct") == correct)["iou"].to_list() for correct in (True, False))
        summary = f"Mean IoU {_mean(right)} where the class is right, {_mean(wrong)} where it is wrong."
        name = f"confidence-{model.run_id}"
        charts.append(
            Chart(
                name, model.title, summary, (240, 238), x, y, x_label="confidence", y_label="IoU", lines=(), dots=dots
            )
        )
    return tuple(charts)


def _mean(values: list[float]) -> str:
    return number(sum(values) / len(values) if values else None)
