"""Scores beside what they must beat: baselines, the control region, random weights, chance."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionlens.records import ReportData
from lesionlens.reporting.charts import style as draw
from lesionlens.reporting.charts.style import Chart
from lesionlens.reporting.data import Model, Row, Score, by_model, frame, headline, rows, score, shown
from lesionlens.reporting.formatting import METHODS, count, counted, number, term

MARKERS = {
    "whole_patch": "s", "centred_disc": "o", "mean_mask": "D", "random_weights": "x", "dealt_maps": "^", "ceiling": "|",
}  # fmt: skip
"""Of the baselines, and of the highest LL that the grid of the maps allows."""
MEASURES = {
    "ssim": ("SSIM", "SSIM", "ssim_", "curve", "dashed"),
    "rank_correlation": ("rank", "rank correlation", "rank_", "dotted", "dotted"),
}
"""Similarities of maps: short and full name, what their other columns start with, lines of maps and of chance."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model in the forest: its name in two parts, its place in the colour order, its row of Table IV."""

    first: str
    second: str
    series: int
    row: Row

    @property
    def title(self) -> str:
        return f"{self.first}, {self.second}"


def forest(data: ReportData) -> Chart | None:
    """Every model's localisation score with interval, its baselines as marks below it; None without any score."""
    found = [(model, headline(data, model)) for model in shown(data)]
    return forest_of([_entry(model, row) for model, row in found if row is not None])


def _entry(model: Model, row: Row) -> Entry:
    first, _, second = model.title.partition(", ")
    return Entry(first, second, model.series, row)


def forest_of(entries: Sequence[Entry]) -> Chart | None:
    """The same for any rows of Table IV."""
    found = [(entry, score(entry.row)) for entry in entries if score(entry.row).value is not None]
    if not found:
        return None
    lines = [
        (entry, own, [(score(entry.row, name), term(name, METHODS), marker) for name, marker in MARKERS.items()])
        for entry, own in found
    ]
    figure = _lines(lines, "mean IoU of the marked region with the annotation")
    summary = "; ".join(f"{entry.title}: {own.text}" for entry, own in found)
    return draw.chart("forest", "Localisation score of every model beside its baselines", summary, figure)


def occlusion_chart(data: ReportData) -> Chart | None:
    """Mean fall of probability with the lesion occluded (filled) and with the control region (ring), per model."""
    key = {"population": "correct_lesions", "group_name": "all"}
    tests = [(model, row) for model in shown(data) for row in rows(data, "occlusion_test", run_id=model.run_id, **key)]
    found = [
        (_entry(model, row), score(row, "lesion_drop"), score(row, "control_drop"))
        for model, row in tests
        if row["lesion_drop"] is not None
    ]
    if not found:
        return None
    lines = [(entry, lesion, [(control, "control region occluded", "o")]) for entry, lesion, control in found]
    figure = _lines(lines, "mean fall of the predicted class’s probability")
    words = "; ".join(f"{entry.title}: {lesion.text} against {control.text}" for entry, lesion, control in found)
    title = "Fall of probability with the lesion occluded, and with the control region"
    return draw.chart("occlusion-chart", title, f"{words}.", figure)


def _lines(lines: Sequence[tuple[Entry, Score, list[tuple[Score, str, str]]]], x_label: str) -> Figure:
    """One line a model: its name, its score in its colour, and below it others as grey marks (score, words, marker)."""
    names = [_wrapped(entry) for entry, *_ in lines]
    scores = [each for _, own, others in lines for each in (own, *(other for other, *_ in others))]
    ends = [end for each in scores for end in (each.low, each.value, each.high) if end is not None]
    pitch = 20 + 16 * max(2, *(len(name) for name in names))
    bottom = 10 + pitch * len(lines)
    figure, axes = draw.canvas(
        (1.08 * min(0, *ends), 1.08 * max(0.05, *ends)), (bottom, 10), x_label, size=(740, bottom + 38), left=190,
        right=720, top=10, grid="x",
    )  # fmt: skip
    axes.set_yticks([])
    draw.line(axes, (0, 0), (10, bottom), "border", draw.RULE)
    for n, ((entry, own, others), name) in enumerate(zip(lines, names, strict=True)):
        y = 32 + pitch * n
        _name(axes, name, y)
        for other, *_ in others:
            draw.interval(axes, other, y + 14, "whisker", across=True)
        for other, words, marker in others:
            if other.value is not None:
                draw.mark(axes, other.value, y + 14, f"{entry.title}, {words}: {other.text}", 8, marker=marker)
        draw.interval(axes, own, y, "interval", draw.series(entry.series), across=True)
        tip = f"{entry.title}: {own.text}"
        draw.mark(axes, own.value or 0, y, tip, 12, draw.series(entry.series), label=number(own.value))
    return figure


def _wrapped(entry: Entry) -> list[tuple[str, float, str]]:
    """The lines of a name: words, size, colour."""
    parts = ((entry.first, 12.5, draw.INK), (entry.second, draw.SMALL, draw.SOFT))
    return [(words, size, colour) for text, size, colour in parts for words in textwrap.wrap(text, 24)]


def _name(axes: Axes, name: list[tuple[str, float, str]], y: float) -> None:
    for n, (words, size, colour) in enumerate(name):
        axes.annotate(
            words, (0, y + 2 + 16 * n), (-14, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            fontsize=size, color=colour, horizontalalignment="right", parse_math=False,
        )  # fmt: skip


def randomisation(data: ReportData) -> tuple[Chart, ...]:
    """Per model: similarity of maps to the trained model's while layers are made random, from the head inwards."""
    found = frame(data, "weight_randomisation").sort("step")
    return tuple(_randomisation(model, steps.to_dicts()) for model, steps in by_model(data, found) if steps.height > 1)


def _randomisation(model: Model, steps: list[Row]) -> Chart:
    colour, last = draw.series(model.series), steps[-1]
    names = [name for value, (_, _, ends, *_) in MEASURES.items() for name in (value, f"{ends}low", f"{ends}chance")]
    low = min([0.0, *(1.1 * row[name] for row in steps for name in names if row[name] is not None)])
    y_label = "similarity to the trained model’s maps"
    figure, axes = draw.canvas((0, last["step"]), (low, 1), "layers made random", y_label, left=34, right=166)
    beside = []
    for name, (short, full, ends, kind, chance_kind) in MEASURES.items():
        known = [row for row in steps if row[name] is not None]
        for row in known:
            own = draw.scored(row, name, ends)
            draw.interval(axes, own, row["step"], "whisker", colour)
            tip = f"{row['layer'] or 'intact'}: {full} {own.text}, {count(own.n)} lesions"
            draw.mark(axes, row["step"], row[name], tip, 6.4, colour)
        if known:
            draw.line(axes, [row["step"] for row in known], [row[name] for row in known], kind, colour)
            beside.append((known[-1][name], short, colour))
        chance = last[f"{ends}chance"]
        if chance is not None:
            draw.line(axes, (0, last["step"]), (chance, chance), chance_kind)
            beside.append((chance, f"{short} chance", draw.SOFT))
    draw.labels(axes, beside)
    return draw.chart(f"randomisation-{model.run_id}", model.title, _fallen(last), figure)


def _fallen(last: Row) -> str:
    """Whether the maps have fallen to chance once every layer is random, by either measure."""
    if not last["n"]:
        return "With every layer random, no lesion has a map that is not blank."
    words = [
        f"{full} {(own := draw.scored(last, name, ends)).text}, {_beside(own, last[f'{ends}chance'])}"
        for name, (_, full, ends, *_) in MEASURES.items()
    ]
    return f"With every layer random, over {counted(last['n'], 'lesion', 'lesions')}: {'; '.join(words)}."


def _beside(own: Score, chance: float | None) -> str:
    if chance is None or own.low is None or own.high is None:
        return "not to be told from chance, which takes two patients"
    verdict = "still above" if own.low > chance else "fallen below" if own.high < chance else "fallen to"
    return f"{verdict} chance ({number(chance)})"


def by_mask_fraction(data: ReportData) -> tuple[Chart, ...]:
    """Per model: LL of correctly classified lesions by the proportion of the patch that the annotation fills."""
    key = {"subgroup": "mask_fraction", "name": "ll", "population": "correct_lesions"}
    found = frame(data, "subgroup_scores").filter(pl.col("value").is_not_null(), pl.col("level") != "unknown", **key)
    return tuple(_fractions(model, levels.to_dicts()) for model, levels in by_model(data, found.sort("level")))


def _fractions(model: Model, levels: list[Row]) -> Chart:
    x_label = "annotation’s proportion of the patch, %"
    figure, axes = draw.canvas((-0.5, len(levels) - 0.5), (0, 1), x_label, "LL")
    percent = [[f"{100 * float(end):g}" for end in row["level"].split(" to ")] for row in levels]
    axes.set_xticks(range(len(levels)), ["–".join(ends) for ends in percent])
    for n, row in enumerate(levels):
        own, beside = draw.scored(row, "value"), n + 9 / axes.bbox.width * len(levels)
        draw.interval(axes, own, n, "interval", draw.series(model.series))
        tip = f"{row['level']} of the patch: {own.text}, {count(own.n)} lesions"
        draw.mark(axes, n, row["value"], tip, 10, draw.series(model.series))
        for name in ("whole_patch", "centred_disc"):
            other = score(row, name)
            draw.interval(axes, other, beside, "whisker")
            if other.value is not None:
                draw.mark(axes, beside, other.value, f"{term(name, METHODS)}: {other.text}", 6.4, marker=MARKERS[name])
    words = "; ".join(f"{row['level']}: {draw.scored(row, 'value').text}" for row in levels)
    summary = f"LL by the annotation’s proportion of the patch: {words}."
    return draw.chart(f"fractions-{model.run_id}", model.title, summary, figure)


def confidence_iou(data: ReportData, wrong: pl.DataFrame) -> tuple[Chart, ...]:
    """Confidence in the predicted class against IoU, one chart per model; wrong predictions are open marks.

    wrong: the scores of lesions whose class is wrong, from `scoring.localization.wrong_class_scores`.
    """
    found = frame(data, "sample_results").drop_nulls(["iou", "confidence"])
    return tuple(
        _confidence(model, samples, f"{_right(data, model)}; {_wrong(wrong.filter(run_id=model.run_id))}.")
        for model, samples in by_model(data, found)
    )


def _confidence(model: Model, samples: pl.DataFrame, summary: str) -> Chart:
    figure, axes = draw.canvas((0, 1), (0, 1), "confidence", "IoU")
    colour = draw.series(model.series)
    for correct, face, rim, alpha in ((False, draw.PAPER, colour, 0.85), (True, colour, "none", 0.75)):
        of_kind = samples.filter(correct=correct)
        axes.plot(of_kind["confidence"], of_kind["iou"], linestyle="none", marker="o", markersize=5.6, alpha=alpha,
                  markerfacecolor=face, markeredgecolor=rim, markeredgewidth=1.1, clip_on=False, zorder=3)  # fmt: skip
    return draw.chart(f"confidence-{model.run_id}", model.title, summary, figure)


def _right(data: ReportData, model: Model) -> str:
    own = score(headline(data, model) or {"n": 0})
    if own.value is None:
        return "No class is right"
    return f"Mean IoU {own.text} over the {counted(own.n, 'lesion', 'lesions')} whose class is right"


def _wrong(scores: pl.DataFrame) -> str:
    if scores.is_empty():
        return "no class is wrong"
    own = draw.scored(scores.row(0, named=True), "value")
    return f"over the {count(own.n)} whose class is wrong it is {own.text}"
