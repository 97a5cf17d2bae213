"""Charts of whether the lesion mattered: erase test, weight randomisation, size of the lesion."""

from dataclasses import dataclass, replace

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.axes import Scale, path, spread
from lesionlens.reporting.data import Model, Row, frame, rows, shown
from lesionlens.reporting.figures import Chart, Dot, Line, Text
from lesionlens.reporting.formatting import METHODS, MINUS, count, counted, number, plain, spoken

ROW = 44


def occlusion_chart(data: ReportData) -> Chart | None:
    """Mean fall of probability with the lesion erased (filled) and with as much tissue erased (ring), per model."""
    found = [
        (model, row)
        for model in shown(data)
        for row in rows(data, "occlusion_test", run_id=model.run_id, population="correct_lesions", group_name="all")
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


@dataclass(frozen=True, slots=True)
class Measure:
    """A similarity of maps: its short and its full name, its columns in the record, how its line is drawn."""

    label: str
    name: str
    value: str
    low: str
    high: str
    chance: str
    kind: str
    chance_kind: str

    def spoken(self, row: Row) -> str:
        return spoken(row[self.value], row[self.low], row[self.high])


MEASURES = (
    Measure("SSIM", "SSIM", "ssim", "ssim_low", "ssim_high", "ssim_chance", "curve", "random"),
    Measure("rank", "rank correlation", "rank_correlation", "rank_low", "rank_high", "rank_chance", "train_loss",
            "train_loss"),
)  # fmt: skip


def randomisation(data: ReportData) -> tuple[Chart, ...]:
    """Per model: similarity of maps to the trained model's while layers are made random, from the head inwards."""
    return tuple(chart for model in shown(data) if (chart := _randomised(data, model)) is not None)


def _randomised(data: ReportData, model: Model) -> Chart | None:
    found = sorted(rows(data, "weight_randomisation", run_id=model.run_id), key=lambda row: row["step"])
    if len(found) < 2:
        return None
    lowest = [row[key] for row in found for m in MEASURES for key in (m.value, m.low, m.chance) if row[key] is not None]
    x = Scale(0, max(row["step"] for row in found), 34, 168)
    y = Scale(min([0.0, *(1.1 * value for value in lowest)]), 1, 200, 24)
    whiskers, named, dots = [], [], []
    for measure in MEASURES:
        known = [row for row in found if row[measure.value] is not None]
        for row in known:
            at = x(row["step"])
            if row[measure.low] is not None:
                ends = [(at, y(row[measure.low])), (at, y(row[measure.high]))]
                whiskers.append(Line(path(ends), model.series, "baseline"))
            words = f"{row['layer'] or 'intact'}: {measure.name} {measure.spoken(row)}, {count(row['n'])} lesions"
            dots.append(Dot(at, y(row[measure.value]), model.series, "own", words, 3.2))
        if known:
            points = [(x(row["step"]), y(row[measure.value])) for row in known]
            named.append((points[-1][1], Line(path(points), model.series, measure.kind, measure.label)))
        chance = found[-1][measure.chance]
        if chance is not None:
            level = Line(path([(x.start, y(chance)), (x.end, y(chance))]), None, measure.chance_kind)
            named.append((y(chance), replace(level, label=f"{measure.label} chance")))
    places = spread([at for at, _ in named], 15, y.end, y.start)
    lines = [replace(line, label_x=x.end + 9, label_y=at + 4) for (_, line), at in zip(named, places, strict=True)]
    return Chart(
        f"randomisation-{model.run_id}", model.title, _fallen(found[-1]), (262, 238), x, y,
        x_label="layers made random", y_label="similarity to the trained model’s maps", lines=(*whiskers, *lines),
        dots=tuple(dots),
    )  # fmt: skip


def _fallen(last: Row) -> str:
    """Whether the maps have fallen to chance once every layer is random, by either measure."""
    if not last["n"]:
        return "With every layer random, no lesion has a map that is not blank."
    said = "; ".join(f"{measure.name} {measure.spoken(last)}, {_beside(last, measure)}" for measure in MEASURES)
    return f"With every layer random, over {counted(last['n'], 'lesion', 'lesions')}: {said}."


def _beside(row: Row, measure: Measure) -> str:
    chance, low = row[measure.chance], row[measure.low]
    if chance is None or low is None:
        return "not to be told from chance, which takes two patients"
    verdict = "still above" if low > chance else "fallen below" if row[measure.high] < chance else "fallen to"
    return f"{verdict} chance ({number(chance)})"


def by_mask_fraction(data: ReportData) -> tuple[Chart, ...]:
    """Per model: LL of correctly classified lesions by the share of the patch that the annotation fills."""
    return tuple(chart for model in shown(data) if (chart := _fractions(data, model)) is not None)


def _fractions(data: ReportData, model: Model) -> Chart | None:
    key = {"run_id": model.run_id, "subgroup": "mask_fraction", "name": "ll", "population": "correct_lesions"}
    found = frame(data, "subgroup_scores").filter(pl.all_horizontal(pl.col(k) == v for k, v in key.items()))
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
            value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
            if value is not None:
                words = f"{plain(name, METHODS)}: {spoken(value, low, high)}"
                dots.append(Dot(at + 9, y(value), None, kind, words, 3.2))
            if low is not None:
                lines.append(Line(path([(at + 9, y(low)), (at + 9, y(high))]), None, "baseline"))
        least, _, most = row["level"].partition(" to ")
        texts.append(Text(at, 215, f"{_percent(least)}–{_percent(most)}", "tick", "middle"))
    said = "; ".join(f"{row['level']}: {spoken(row['value'], row['low'], row['high'])}" for row in bands)
    return Chart(
        f"fractions-{model.run_id}", model.title, f"LL by the annotation’s share of the patch: {said}.", (240, 238), x,
        y, x_label="annotation’s share of the patch, %", y_label="LL", lines=tuple(lines), dots=tuple(dots),
        texts=tuple(texts), x_named=True,
    )  # fmt: skip


def _percent(share: str) -> str:
    return f"{100 * float(share):g}".replace("-", MINUS)
