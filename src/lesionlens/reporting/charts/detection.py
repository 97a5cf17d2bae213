"""FROC: lesions found against false marks per film, of everything that marks."""

from collections.abc import Sequence
from math import log2

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.charts import style as draw
from lesionlens.reporting.charts.style import Chart
from lesionlens.reporting.data import Model, Part, by_model, frame, headline_method
from lesionlens.reporting.formatting import METHODS, POINTS, count, number, term

TICKS = (0.25, 1, 4)
SHORT = {"boxes": "boxes", "bright_blob": "blobs", "sweep": "sweep"}
"""Names beside a curve where those of METHODS are long."""


def froc_curves(data: ReportData) -> tuple[Chart, ...]:
    """One chart per model: its marks beside the bright blob's, all lesions, centre in the lesion's box."""
    found = frame(data, "detections").filter(measure="sensitivity", criterion="centre", group_name="all")
    return tuple(_froc(model, curve.drop_nulls("value")) for model, curve in by_model(data, found))


def froc_beside(parts: Sequence[Part]) -> Chart | None:
    """The marks of every model of studies on the same films on one chart, beside the bright blob's; None without."""
    curves, blob = [], pl.DataFrame()
    for data, _, models in parts:
        found = frame(data, "detections").filter(measure="sensitivity", criterion="centre", group_name="all")
        for model in models:
            own = found.filter(run_id=model.run_id).drop_nulls("value")
            points = own.filter(method=headline_method(data))
            if points.height:
                curves.append((f"{model.title}, {term(headline_method(data), METHODS)}", model.short, points))
                blob = own.filter(method="bright_blob")
    if not curves:
        return None
    curves += [(term("bright_blob", METHODS), SHORT["bright_blob"], blob)] if blob.height else []
    return _drawn("froc", "All models", curves)


def _froc(model: Model, points: pl.DataFrame) -> Chart:
    curves = []
    for (method,), curve in points.group_by("method", maintain_order=True):
        name = term(str(method), METHODS)
        curves.append((name, SHORT.get(str(method), name), curve))
    return _drawn(f"froc-{model.run_id}", model.title, curves)


def _drawn(chart: str, title: str, curves: Sequence[tuple[str, str, pl.DataFrame]]) -> Chart:
    """Curves with their names in full and beside the curve."""
    figure, axes = draw.canvas((log2(1 / 16), log2(8)), (0, 1), "false marks per film", "lesions found", right=180)
    axes.set_xticks([log2(at) for at in TICKS], labels=[f"{at:g}" for at in TICKS])
    beside, words = [], []
    for n, (name, short, curve) in enumerate(curves):
        colour = draw.series(n)
        rows = curve.sort("false_marks")
        draw.line(axes, rows["false_marks"].log(2), rows["value"], "curve", colour)
        for row in rows.filter(pl.col("false_marks").is_in(list(POINTS))).iter_rows(named=True):
            own, at = draw.scored(row, "value"), log2(row["false_marks"])
            draw.interval(axes, own, at, "whisker", colour)
            tip = f"{row['false_marks']:g} false marks per film: {own.text}, {count(own.n)} lesions"
            draw.mark(axes, at, row["value"], f"{name}, {tip}", 6, colour)
        headline = draw.scored(next(rows.filter(false_marks=1.0).iter_rows(named=True), {}), "value")
        beside.append((float(rows["value"][-1]), f"{short} {number(headline.value)}", colour))
        words.append(f"{name} {headline.text}")
    draw.labels(axes, beside, 17)
    return draw.chart(chart, title, f"At 1 false mark per film: {'; '.join(words)}.", figure)
