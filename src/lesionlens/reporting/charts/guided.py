"""Scores of guided models over the weight of guidance."""

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.charts import style as draw
from lesionlens.reporting.charts.style import Chart
from lesionlens.reporting.formatting import BACKBONES, STRATEGIES, term
from lesionlens.reporting.tables.guided import CELL, cells, tests

LINES = {"auc": "AUC", "swap_lesion_auc": "swap: lesion", "hit": "hit rate", "energy": "energy", "iou": "IoU"}


def guidance_curves(data: ReportData) -> tuple[Chart, ...]:
    """One chart per model: AUC, AUC by a swapped lesion, hit rate, energy and IoU over the weight, all annotations
    shown; none where there is one weight."""
    found = cells(data, "all").join(tests(data), on=CELL, how="left").filter(pl.col("fraction") == 1)
    keys = [name for name in CELL if name != "guidance"]
    groups = found.group_by(keys, maintain_order=True)
    return tuple(
        _curve(n, of_model.sort("weight"))
        for n, (_, of_model) in enumerate(groups)
        if of_model["weight"].n_unique() > 1
    )


def _curve(number: int, points: pl.DataFrame) -> Chart:
    most = float(points["weight"].max() or 1)  # type: ignore[arg-type]
    figure, axes = draw.canvas((0, most), (0, 1), "weight of guidance", right=180)
    beside, words = [], []
    for n, (name, head) in enumerate(LINES.items()):
        known = points.filter(pl.col(name).is_not_null())
        if known.is_empty():
            continue
        draw.line(axes, known["weight"], known[name], "curve", draw.series(n))
        for row in known.iter_rows(named=True):
            own = draw.scored(row, name, f"{name}_")
            draw.interval(axes, own, row["weight"], "whisker", draw.series(n))
            draw.mark(axes, row["weight"], row[name], f"weight {row['weight']:g}: {head} {own.text}", 6, draw.series(n))
        values = [draw.scored(row, name, f"{name}_").text for row in known.iter_rows(named=True)]
        beside.append((float(known[name][-1]), head, draw.series(n)))
        words.append(f"{head} {', '.join(values)}")
    draw.labels(axes, beside, 17)
    row = points.row(0, named=True)
    title = f"{term(row['backbone'], BACKBONES)}, {term(row['strategy'], STRATEGIES)}"
    weights = ", ".join(f"{weight:g}" for weight in points["weight"])
    return draw.chart(f"guidance-{number}", title, f"At weight {weights}: {'; '.join(words)}.", figure)
