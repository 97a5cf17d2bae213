"""Charts of where the models look: scores beside baselines, every threshold, confidence against IoU."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.axes import Scale, path, spread
from lesionlens.reporting.data import Model, Row, frame, lookup, shown
from lesionlens.reporting.figures import Chart, Dot, Line, Text
from lesionlens.reporting.formatting import METHODS, count, counted, number, plain, spoken
from lesionlens.reporting.verdict import BASELINES, Score, headline, score
from lesionlens.scoring.bootstrap import draw
from lesionlens.scoring.means import Mean, means

ROW = 52
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


CONSTANT = {"whole_patch": "patch", "centred_disc": "disc", "mean_mask": "mask"}
"""Baselines without a threshold, and their names beside a curve."""


def threshold_curves(data: ReportData) -> tuple[Chart, ...]:
    """One chart per model, all on one scale: mean IoU at every threshold, with its interval and every baseline."""
    found = frame(data, "iou_curves").filter(pl.col("iou").is_not_null() & (pl.col("target") == "predicted"))
    wanted = []
    for model in shown(data):
        row = headline(data, model)
        own = found.filter(run_id=model.run_id, method=row["method"] if row else "").sort("threshold")
        if row is not None and own.height:
            wanted.append((model, row, own, found.filter(run_id=model.run_id, method="random_weights")))
    if not wanted:
        return ()
    tops = [own["iou"].max() for _, _, own, _ in wanted] + [own["high"].max() for _, _, own, _ in wanted]
    tops += [score(row, name).value for _, row, _, _ in wanted for name in CONSTANT]
    y = Scale(0, max(0.05, *(float(str(top)) * 1.06 for top in tops if top is not None)), 200, 24)
    return tuple(_thresholds(model, row, own, random.sort("threshold"), y) for model, row, own, random in wanted)


def _thresholds(model: Model, row: Row, own: pl.DataFrame, random: pl.DataFrame, y: Scale) -> Chart:
    x = Scale(0, 1, 34, 188)
    lines = [Line(path((x(t), y(v)) for t, v in own.select("threshold", "iou").rows()), model.series, "curve")]
    band = own.drop_nulls(["low", "high"])
    around = [*band.select("threshold", "low").rows(), *reversed(band.select("threshold", "high").rows())]
    if around:
        lines.insert(0, Line(f"{path((x(t), y(v)) for t, v in around)} Z", model.series, "band"))
    beside = _baselines(row, random, x, y)
    for (_, words, line, _), place in zip(beside, spread([b[0] for b in beside], 15, y.end, y.start), strict=True):
        lines.append(replace(line, kind=line.kind or "constant", label=words, label_x=x.end + 8, label_y=place + 4))
    best = max(own.to_dicts(), key=lambda point: float(point["iou"]))
    said = spoken(best["iou"], best["low"], best["high"])
    summary = [f"Highest mean IoU {said}, at {number(best['threshold'])}."]
    summary += [f"Baselines: {'; '.join(words for *_, words in beside)}."] if beside else []
    return Chart(
        f"thresholds-{model.run_id}", model.title, " ".join(summary), (282, 238), x, y,
        x_label="threshold of the scaled map", y_label="mean IoU", lines=tuple(lines),
        dots=(Dot(x(best["threshold"]), y(best["iou"]), model.series, "own", said, 4),),
    )  # fmt: skip


def _baselines(row: Row, random: pl.DataFrame, x: Scale, y: Scale) -> list[tuple[float, str, Line, str]]:
    """(height of the label, label, line, words with interval) of every baseline that has a score."""
    beside = []
    for name, words in CONSTANT.items():
        other = score(row, name)
        if other.value is not None:
            level = Line(path([(x.start, y(other.value)), (x.end, y(other.value))]), None)
            said = f"{plain(name, METHODS)} {other.spoken}"
            beside.append((y(other.value), f"{words} {number(other.value)}", level, said))
    if random.height:
        points = random.select("threshold", "iou").rows()
        top = max(random.to_dicts(), key=lambda point: float(point["iou"]))
        said = f"random weights at most {spoken(top['iou'], top['low'], top['high'])}"
        curve = Line(path((x(t), y(v)) for t, v in points), None, "random")
        beside.append((y(points[-1][1]), f"random {number(top['iou'])}", curve, said))
    return beside


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
        summary = f"{_right(data, model)}; {_wrong(data, samples.filter(~pl.col('correct')))}."
        name = f"confidence-{model.run_id}"
        charts.append(
            Chart(
                name, model.title, summary, (240, 238), x, y, x_label="confidence", y_label="IoU", lines=(), dots=dots
            )
        )
    return tuple(charts)


def _right(data: ReportData, model: Model) -> str:
    row = headline(data, model)
    own = score(row) if row else None
    if own is None or own.value is None:
        return "No class is right"
    return f"Mean IoU {own.spoken} over the {counted(own.n, 'lesion', 'lesions')} whose class is right"


def _wrong(data: ReportData, samples: pl.DataFrame) -> str:
    """The record has no score of lesions whose class is wrong: theirs is resampled here, as evaluating does."""
    if samples.is_empty():
        return "no class is wrong"
    iou, config = samples["iou"].to_numpy(), data.study.get("config")
    resamples, seed = lookup(config, "evaluation.resamples"), lookup(config, "seed")
    clusters = draw(samples["patient"].to_numpy(), resamples, np.random.default_rng(seed))
    wanted = [Mean({}, iou, np.ones(len(iou), dtype=np.bool_))]
    found = means(wanted, clusters, lookup(config, "evaluation.confidence"))
    low, high = (None if np.isnan(end[0]) else float(end[0]) for end in (found.low, found.high))
    said = spoken(float(found.value[0]), low, high)
    return f"over the {count(samples.height)} whose class is wrong it is {said}"
