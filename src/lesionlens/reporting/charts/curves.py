"""Curves: ROC, reliability, loss over epochs, IoU over thresholds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lesionlens.records import ReportData
from lesionlens.reporting.charts import style as draw
from lesionlens.reporting.charts.style import Chart
from lesionlens.reporting.data import Model, Part, Row, by_model, frame, headline, models, rows, score
from lesionlens.reporting.formatting import ASKED, METHODS, UNITS, count, number, term
from lesionlens.reporting.verdict import chosen
from lesionlens.scoring.calibration import calibrated_error

BESIDE: dict[str, Any] = {"right": 180}
"""Edge of axes that leaves room for labels at their right."""
PHASES = ("head", "+1", "+2")
LOSSES = {"train_loss": ("training", "dotted"), "validation_loss": ("validation", "curve")}
LEVELS = {"whole_patch": "patch", "centred_disc": "disc", "mean_mask": "mask"}
"""Baselines without a threshold, and their names beside a curve."""


def roc_curves(data: ReportData) -> tuple[Chart, ...]:
    """One chart per model, one line per class against all others, named by class and area."""
    names = dict(frame(data, "labels").select("code", "name").rows())
    found = frame(data, "roc_curve").drop_nulls(["true_positive_rate", "false_positive_rate"])
    areas = frame(data, "table_3_auc")
    return tuple(_roc(model, curve, areas.filter(run_id=model.run_id), names) for model, curve in by_model(data, found))


def _roc(model: Model, points: pl.DataFrame, areas: pl.DataFrame, names: dict[str, str]) -> Chart:
    figure, axes = draw.canvas((0, 1), (0, 1), "false positive rate", "true positive rate", **BESIDE)
    draw.line(axes, (0, 1), (0, 1), "dashed")
    beside: list[tuple[float, str, str]] = []
    words = []
    for n, ((code,), of_class) in enumerate(points.group_by("code", maintain_order=True)):
        rates = of_class.sort("threshold", descending=True).select("false_positive_rate", "true_positive_rate")
        x, y = corners(rates.to_numpy()).T
        draw.line(axes, x, y, "thin", draw.series(n))
        area = draw.scored(next(areas.filter(code=code).iter_rows(named=True), {}), "auc", "auc_")
        beside.insert(0, (0.5, f"{draw.cut(str(code), 12)} {number(area.value)}", draw.series(n)))
        words.append(f"{names.get(str(code), code)} {area.text}")
    draw.labels(axes, beside, 17)
    return draw.chart(f"roc-{model.run_id}", model.title, f"Area under the curve: {'; '.join(words)}.", figure)


def roc_levels(data: ReportData) -> tuple[Chart, ...]:
    """For the model that the answer is about, one chart per question: a line for patches, breasts and patients."""
    best = chosen(data)
    points = frame(data, "operating_points").drop_nulls("value").filter(run_id=best.run_id if best else -1)
    found = ((question, points.filter(question=question)) for question in ASKED)
    return tuple(_levels(question, of_one) for question, of_one in found if of_one.filter(measure="roc").height)


def roc_beside(parts: Sequence[Part]) -> Chart | None:
    """Malignant breasts against others by the models of several studies, each on its own breasts; None without any."""
    short = draw.apart([name for _, name, _ in parts], 16)
    found = [
        (f"{of.short} · {name}", beside, points)
        for (data, name, models), beside in zip(parts, short, strict=True)
        for of in models
        for every in [frame(data, "operating_points").drop_nulls("value").filter(run_id=of.run_id, level="breast")]
        for points in [every.filter(question="diagnosis")]
        if points.filter(measure="roc").height
    ]
    return _drawn("roc-breasts", "Malignant or benign, by breast", found) if found else None


def _levels(question: str, points: pl.DataFrame) -> Chart:
    by_level = [(name, name, points.filter(level=level)) for level, name in UNITS.items()]
    return _drawn(f"levels-{question}", ASKED[question].capitalize(), by_level)


def _drawn(chart: str, title: str, found: Sequence[tuple[str, str, pl.DataFrame]]) -> Chart:
    """ROC curves with their names in full and beside the curve, of rows of `operating_points`."""
    figure, axes = draw.canvas((0, 1), (0, 1), "1 − specificity", "sensitivity", **BESIDE)
    draw.line(axes, (0, 1), (0, 1), "dashed")
    beside: list[tuple[float, str, str]] = []
    words = []
    for n, (name, short, points) in enumerate(found):
        curve = points.filter(measure="roc").sort("at", descending=True)
        x, y = np.vstack([(0.0, 0.0), curve.select(1 - pl.col("at"), "value").to_numpy()]).T
        draw.line(axes, x, y, "thin", draw.series(n))
        area = draw.scored(next(points.filter(measure="auc").iter_rows(named=True), {}), "value")
        beside.insert(0, (0.5, f"{short} {number(area.value)}", draw.series(n)))
        words.append(f"{name} {area.text}, {count(area.n)}")
    draw.labels(axes, beside, 17)
    return draw.chart(chart, title, f"AUC and count: {'; '.join(words)}.", figure)


def corners(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points [n x 2] from (0, 0) to (1, 1), without those on a straight line between their neighbours."""
    points = np.vstack([(0.0, 0.0), rates, (1.0, 1.0)])
    x, y = np.diff(points, axis=0).T
    return points[np.r_[True, np.abs(x[:-1] * y[1:] - x[1:] * y[:-1]) > 1e-12, True]]


def reliability(data: ReportData) -> tuple[Chart, ...]:
    """One chart per model: proportion of correct predictions against their mean probability, by bin, with intervals.

    A mark's area follows the number of samples in its bin.
    """
    found = frame(data, "reliability_curve").drop_nulls("confidence")
    return tuple(_reliability(model, bins, _error(data, model)) for model, bins in by_model(data, found))


def _reliability(model: Model, bins: pl.DataFrame, summary: str) -> Chart:
    figure, axes = draw.canvas((0, 1), (0, 1), "mean probability", "proportion correct")
    draw.line(axes, (0, 1), (0, 1), "dashed")
    for row in bins.iter_rows(named=True):
        own = draw.scored(row, "accuracy")
        draw.interval(axes, own, row["confidence"], "whisker", draw.series(model.series))
        tip = f"mean probability {number(row['confidence'])}: {own.text} correct, {count(own.n)} samples"
        size = max(5.0, 15 * (own.n / bins["n"].to_numpy().max()) ** 0.5)
        draw.mark(axes, row["confidence"], row["accuracy"], tip, size, draw.series(model.series), edge=1)
    return draw.chart(f"reliability-{model.run_id}", model.title, summary, figure)


def _error(data: ReportData, model: Model) -> str:
    found = rows(data, "calibration", run_id=model.run_id)
    confidences = frame(data, "sample_results").filter(run_id=model.run_id)["confidence"].drop_nulls()
    if not found or confidences.is_empty():
        return ""
    error, chance = draw.scored(found[0], "calibration_error").text, number(calibrated_error(confidences.to_numpy()))
    return f"Expected calibration error {error}; chance alone gives a perfectly calibrated model {chance} here."


def learning_curves(data: ReportData) -> tuple[Chart, ...]:
    """Training and validation loss of every selected model over epochs, its phases and the evaluated epoch marked."""
    every = frame(data, "epochs").sort("epoch")
    found = [(model, every.filter(run_id=model.run_id)) for model in models(data) if model.selected]
    found = [(model, epochs) for model, epochs in found if epochs.height]
    losses = [loss for _, epochs in found for name in LOSSES for loss in epochs[name] if math.isfinite(loss)]
    top = 1.05 * max(losses, default=0) or 1
    return tuple(_learning(model, epochs.to_dicts(), top, _evaluated(data, model, epochs)) for model, epochs in found)


def _evaluated(data: ReportData, model: Model, epochs: pl.DataFrame) -> Row:
    """The epoch that the record says was evaluated; the one of lowest validation loss where it says none."""
    scored = rows(data, "table_2_accuracy", run_id=model.run_id)
    named = rows(data, "epochs", run_id=model.run_id, epoch=scored[0]["best_epoch"]) if scored else []
    return named[0] if named else epochs.row(epochs["validation_loss"].arg_min() or 0, named=True)


def _learning(model: Model, epochs: list[Row], top: float, best: Row) -> Chart:
    first, last = epochs[0]["epoch"], epochs[-1]["epoch"]
    figure, axes = draw.canvas(
        (first, max(last, first + 1)), (0, top), "epoch", "loss", size=(270, 220), top=34, **BESIDE
    )
    for name, (_, kind) in LOSSES.items():
        draw.line(
            axes, [row["epoch"] for row in epochs], [row[name] for row in epochs], kind, draw.series(model.series)
        )
    draw.labels(axes, [(epochs[-1][name], words, draw.series(model.series)) for name, (words, _) in LOSSES.items()], 14)
    if model.strategy == "gradual":
        _phases(axes, epochs)
    loss = number(best["validation_loss"])
    tip = f"epoch {best['epoch']}: validation loss {loss}"
    draw.mark(axes, best["epoch"], best["validation_loss"], tip, 10, draw.series(model.series))
    froc = best["validation_froc"]
    judged = f"accuracy {number(best['validation_accuracy'])}" if froc is None else f"FROC {number(froc)}"
    summary = f"Evaluated: epoch {best['epoch']} of {len(epochs)}, validation loss {loss}, validation {judged}."
    return draw.chart(f"learning-{model.run_id}", model.title, summary, figure)


def _phases(axes: Axes, epochs: list[Row]) -> None:
    """A border before the first epoch of every phase but the first, and the phases' names above."""
    starts = sorted({row["phase"]: row["epoch"] - 0.5 for row in epochs[::-1]}.items())
    (first, last), top, wide = axes.get_xlim(), axes.get_ylim()[1], axes.bbox.width
    places = draw.spread([max(0, start - first) / (last - first) * wide for _, start in starts], 27, wide)
    for (phase, start), place in zip(starts, places, strict=True):
        if start > first:
            draw.line(axes, (start, start), (0, top), "border", draw.RULE)
        words = _phase_words(phase, next(row for row in epochs if row["phase"] == phase), epochs)
        axes.annotate(words, (place / wide, 1), (2, 4), xycoords="axes fraction", textcoords="offset points",
                      fontsize=draw.SMALL, color=draw.SOFT)  # fmt: skip


def _phase_words(phase: int, first: Row, epochs: list[Row]) -> str:
    """What a phase trains: of a classifier by its number, of prototypes by whether they or the last layer train."""
    if any(row["compares"] for row in epochs):
        return "last" if first["weighs"] else "warm" if phase == 1 else "joint"
    return PHASES[phase - 1] if phase <= len(PHASES) else f"phase {phase}"


def threshold_curves(data: ReportData) -> tuple[Chart, ...]:
    """One chart per model, all on one scale: mean IoU at every threshold, with its interval and every baseline."""
    found = frame(data, "iou_curves").filter(pl.col("iou").is_not_null(), target="predicted").sort("threshold")
    wanted = []
    for model, of_model in by_model(data, found):
        row = headline(data, model) or {}
        own, random = (of_model.filter(method=method) for method in (row.get("method", ""), "random_weights"))
        if own.height:
            wanted.append((model, row, own, random))
    tops = [end for _, _, own, random in wanted for end in (*own["iou"], *own["high"], *random["iou"])]
    tops += [row.get(name) for _, row, _, _ in wanted for name in LEVELS]
    top = max(0.05, *(1.06 * end for end in tops if end is not None)) if wanted else 0
    return tuple(_thresholds(*of_model, top) for of_model in wanted)


def _thresholds(model: Model, row: Row, own: pl.DataFrame, random: pl.DataFrame, top: float) -> Chart:
    colour, best, spoken = draw.series(model.series), _highest(own), draw.scored(_highest(own), "iou").text
    figure, axes = draw.canvas((0, 1), (0, top), "threshold of the scaled map", "mean IoU", **BESIDE)
    band = own.drop_nulls(["low", "high"])
    if band.height:
        around = [*band["low"], *band["high"].reverse()]
        axes.fill([*band["threshold"], *band["threshold"].reverse()], around, facecolor=colour, alpha=0.2,
                  linewidth=0, clip_on=False)  # fmt: skip
    beside, words = [], []
    for name, short in LEVELS.items():
        other = score(row, name)
        if other.value is not None:
            draw.line(axes, (0, 1), [other.value] * 2, "level")
            beside.append((other.value, f"{short} {number(other.value)}", draw.SOFT))
            words.append(f"{term(name, METHODS)} {other.text}")
    if random.height:
        draw.line(axes, random["threshold"], random["iou"], "dashed")
        other = draw.scored(_highest(random), "iou")
        beside.append((random["iou"][-1], f"random {number(other.value)}", draw.SOFT))
        words.append(f"random weights at most {other.text}")
    draw.labels(axes, beside)
    draw.line(axes, own["threshold"], own["iou"], "curve", colour)
    draw.mark(axes, best["threshold"], best["iou"], spoken, 8, colour, label=number(best["iou"]))
    summary = f"Highest mean IoU {spoken}, at {number(best['threshold'])}."
    summary += f" Baselines: {'; '.join(words)}." if words else ""
    return draw.chart(f"thresholds-{model.run_id}", model.title, summary, figure)


def _highest(curve: pl.DataFrame) -> Row:
    return curve.row(curve["iou"].arg_max() or 0, named=True)
