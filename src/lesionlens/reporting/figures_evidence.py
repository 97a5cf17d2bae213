"""Charts of whether the lesion mattered: erase test, weight randomisation, size of the lesion."""

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.axes import Scale, path, spread
from lesionlens.reporting.figures import Chart, Dot, Line, Text
from lesionlens.reporting.models import Model, Row, frame, rows, shown
from lesionlens.reporting.wording import MINUS, count, number, spoken

ROW = 44


def erase_chart(data: ReportData) -> Chart | None:
    """Mean fall of probability with the lesion erased (filled) and with as much tissue erased (ring), per model."""
    found = [
        (model, row)
        for model in shown(data)
        for row in rows(data, "erase_test", run_id=model.run_id, population="correct_lesions", group_name="all")
        if row["lesion_drop"] is not None
    ]
    if not found:
        return None
    ends = [row[key] for _, row in found for key in _KEYS if row[key] is not None]
    low, high = min([0.0, *ends]), max([0.05, *ends])
    x = Scale(low * 1.08, high * 1.08, 190, 720)
    top, lines, dots, texts = 10.0, [], [], []
    for index, (model, row) in enumerate(found):
        y = top + ROW * index + 20
        first, _, rest = model.title.partition(", ")
        texts += [Text(176, y + 2, first, "row", "end"), Text(176, y + 18, rest, "small", "end")]
        for name, kind, shift in (("lesion_drop", "interval", 0), ("control_drop", "baseline", 13)):
            if row[f"{name}_low"] is not None:
                bounds = [(x(row[f"{name}_low"]), y + shift), (x(row[f"{name}_high"]), y + shift)]
                lines.append(Line(path(bounds), None if shift else model.series, kind))
            words = f"{model.title}, {_WORDS[name]}: {_said(row, name)}"
            dots.append(Dot(x(row[name]), y + shift, None if shift else model.series, "ring" if shift else "own", words,
                            4 if shift else 6))  # fmt: skip
    bottom = top + ROW * len(found)
    lines.append(Line(path([(x(0), top), (x(0), bottom)]), None, "phase"))
    said = "; ".join(
        f"{model.title}: {_said(row, 'lesion_drop')} against {_said(row, 'control_drop')}" for model, row in found
    )
    return Chart(
        "erase-chart", "Fall of probability without the lesion, and without as much tissue beside it", f"{said}.",
        (740, bottom + 40), x, None, (top, bottom), "mean fall of the predicted class’s probability", "",
        tuple(lines), tuple(dots), tuple(texts),
    )  # fmt: skip


_KEYS = ("lesion_drop_low", "lesion_drop", "lesion_drop_high", "control_drop_low", "control_drop", "control_drop_high")
_WORDS = {"lesion_drop": "lesion erased", "control_drop": "tissue erased"}


def _said(row: Row, name: str) -> str:
    return spoken(row[name], row[f"{name}_low"], row[f"{name}_high"])


def randomisation(data: ReportData) -> tuple[Chart, ...]:
    """Per model: similarity of maps to the trained model's while layers are made random, from the head inwards."""
    return tuple(chart for model in shown(data) if (chart := _randomised(data, model)) is not None)


def _randomised(data: ReportData, model: Model) -> Chart | None:
    found = sorted(rows(data, "weight_randomisation", run_id=model.run_id), key=lambda row: row["step"])
    if len(found) < 2:
        return None
    values = [row[key] for row in found for key in ("ssim", "rank_correlation") if row[key] is not None]
    x = Scale(0, max(row["step"] for row in found), 34, 204)
    y = Scale(min([0.0, *values]), 1, 200, 24)
    lines: list[Line] = []
    dots, ends = [], []
    for name, label, kind in (("ssim", "SSIM", "curve"), ("rank_correlation", "rank", "train_loss")):
        points = [(x(row["step"]), y(row[name])) for row in found if row[name] is not None]
        if not points:
            continue
        ends.append((len(lines), points[-1][1], label))
        lines.append(Line(path(points), model.series, kind))
        low, high = ("ssim_low", "ssim_high") if name == "ssim" else ("rank_low", "rank_high")
        for row in found:
            if row[name] is not None:
                title = f"{row['layer'] or 'intact'}: {label} {spoken(row[name], row[low], row[high])}"
                dots.append(Dot(x(row["step"]), y(row[name]), model.series, "own", title, 3.2))
    chance = [(x(row["step"]), y(row["ssim_chance"])) for row in found if row["ssim_chance"] is not None]
    if chance:
        ends.append((len(lines), chance[-1][1], "chance"))
        lines.append(Line(path(chance), None, "random"))
    places = spread([at for _, at, _ in ends], 15, y.end, y.start)
    for (index, _, label), place in zip(ends, places, strict=True):
        line = lines[index]
        lines[index] = Line(line.d, line.series, line.kind, label, x.end + 10, place + 4)
    last = found[-1]
    summary = (
        f"With every layer random the maps keep an SSIM of {number(last['ssim'])}; "
        f"maps of different samples have {number(last['ssim_chance'])}."
    )
    return Chart(
        f"randomisation-{model.run_id}", model.title, summary, (262, 238), x, y, x_label="layers made random",
        y_label="similarity to the trained model’s maps", lines=tuple(lines), dots=tuple(dots),
    )  # fmt: skip


def by_mask_fraction(data: ReportData) -> tuple[Chart, ...]:
    """Per model: LL of correctly classified lesions by the share of the patch that the annotation fills."""
    return tuple(chart for model in shown(data) if (chart := _fractions(data, model)) is not None)


def _fractions(data: ReportData, model: Model) -> Chart | None:
    key = {"run_id": model.run_id, "stratum": "mask_fraction", "name": "ll", "population": "correct_lesions"}
    found = frame(data, "stratum_scores").filter(pl.all_horizontal(pl.col(k) == v for k, v in key.items()))
    bands = found.filter(pl.col("value").is_not_null() & (pl.col("level") != "unknown")).sort("level").to_dicts()
    if not bands:
        return None
    x, y = Scale(0, len(bands), 28, 230), Scale(0, 1, 200, 24)
    lines, dots, texts = [], [], []
    for n, row in enumerate(bands):
        at = x(n + 0.5)
        if row["low"] is not None:
            lines.append(Line(path([(at, y(row["low"])), (at, y(row["high"]))]), model.series, "interval"))
        title = (
            f"{row['level']} of the patch: {spoken(row['value'], row['low'], row['high'])}, {count(row['n'])} lesions"
        )
        dots.append(Dot(at, y(row["value"]), model.series, "own", title, 5))
        for name, kind in (("whole_patch", "square"), ("centred_disc", "ring")):
            if row[name] is not None:
                dots.append(Dot(at + 9, y(row[name]), None, kind, "", 3.2))
        low, _, high = row["level"].partition(" to ")
        texts.append(Text(at, 215, f"{_percent(low)}–{_percent(high)}", "tick", "middle"))
    said = "; ".join(f"{row['level']}: {spoken(row['value'], row['low'], row['high'])}" for row in bands)
    return Chart(
        f"fractions-{model.run_id}", model.title, f"LL by the annotation’s share of the patch: {said}.", (240, 238), x,
        y, x_label="annotation’s share of the patch, %", y_label="LL", lines=tuple(lines), dots=tuple(dots),
        texts=tuple(texts), x_named=True,
    )  # fmt: skip


def _percent(share: str) -> str:
    return f"{100 * float(share):g}".replace("-", MINUS)
