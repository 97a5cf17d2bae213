"""Flow diagram: from the patients, images and lesions of a data set to its splits, and what is left out on the way."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from lesionlens.records import SPLITS as ORDER
from lesionlens.records import ReportData
from lesionlens.reporting.charts import style as draw
from lesionlens.reporting.charts.style import Chart
from lesionlens.reporting.data import Row, rows
from lesionlens.reporting.formatting import EXCLUDED, SPLITS, count, counted, term

WIDTH, LINE, PAD, GAP = 720, 17, 9, 24
"""Of the whole, of a line of text, inside a box, between two rows of boxes."""
MAIN, SIDE = (0, 330), (384, WIDTH)
"""Left and right edges of the main boxes and of what leaves the flow."""
LETTERS = 52
"""Letters of a line of the box at the side."""
UNITS = {"patients": "patient", "images": "image", "lesions": "lesion", "samples": "sample"}


def flow_chart(data: ReportData) -> Chart | None:
    """What the data set lists, which lesions are excluded and why, and what each split holds; None without counts."""
    listed, included = rows(data, "flow_counts", stage="listed"), rows(data, "flow_counts", stage="included")
    if not listed or not included:
        return None
    excluded = rows(data, "flow_counts", stage="excluded")
    splits = {row["split"]: row for row in included}
    texts = _excluded(excluded)
    first = _tall(2)
    second = first + GAP + max(_tall(len(texts)), GAP) + GAP
    third = second + _tall(2) + 2 * GAP
    height = third + _tall(5)
    figure, axes = draw.canvas((0, WIDTH), (height + 2, -2), "", size=(WIDTH, height + 4), left=0, right=WIDTH, top=0)
    axes.set_position((0, 0, 1, 1))
    axes.set_axis_off()
    middle, branch = MAIN[1] / 2, first + GAP + _tall(len(texts)) / 2
    _arrow(axes, (middle, first), (middle, second))
    _arrow(axes, (middle, branch), (SIDE[0], branch))
    _box(axes, MAIN, 0, ["In the data set", _counts(listed[0], ("patients", "images", "lesions"))])
    _box(axes, SIDE, first + GAP, texts)
    _box(axes, MAIN, second, ["Included", _counts(splits[None], ("patients", "images", "lesions"))])
    _splits(axes, splits, second + _tall(2), third)
    return draw.chart("flow", "From the data set to the splits", _words(listed[0], excluded, splits), figure)


def _splits(axes: Axes, splits: dict[str | None, Row], top: float, bottom: float) -> None:
    """The three boxes at the bottom, each below an arrow from the box above them."""
    wide = (WIDTH - 2 * GAP) / len(ORDER)
    turn = top + GAP
    centres = [n * (wide + GAP) + wide / 2 for n in range(len(ORDER))]
    draw.line(axes, (MAIN[1] / 2, MAIN[1] / 2), (top, turn), "border")
    draw.line(axes, (centres[0], centres[-1]), (turn, turn), "border")
    for split, centre in zip(ORDER, centres, strict=True):
        row = splits.get(split, dict.fromkeys(UNITS, 0))
        _arrow(axes, (centre, turn), (centre, bottom))
        lines = [counted(row[name], one, name) for name, one in UNITS.items()]
        _box(axes, (centre - wide / 2, centre + wide / 2), bottom, [SPLITS[split].capitalize(), *lines])


def _excluded(found: Sequence[Row]) -> list[str]:
    total = sum(row["lesions"] for row in found)
    texts = [f"{count(row['lesions'])}: {term(row['reason'], EXCLUDED)}" for row in found]
    wrapped = [line for text in texts for line in textwrap.wrap(text, LETTERS, subsequent_indent="    ")]
    return [f"Excluded: {counted(total, 'lesion', 'lesions')}", *wrapped]


def _counts(row: Row, names: Sequence[str]) -> str:
    return ", ".join(counted(row[name], UNITS[name], name) for name in names)


def _tall(lines: int) -> float:
    """Height of a box with so many lines."""
    return LINE * lines + 2 * PAD


def _box(axes: Axes, edges: tuple[float, float], top: float, lines: Sequence[str]) -> None:
    """A box from `top` downwards; its first line is its title."""
    left, right = edges
    shape = FancyBboxPatch(
        (left + 1, top), right - left - 2, _tall(len(lines)), boxstyle="round,pad=0,rounding_size=5", zorder=3,
        facecolor=draw.COLOURS["raised"], edgecolor=draw.SOFT, linewidth=1, clip_on=False,
    )  # fmt: skip
    axes.add_patch(shape)
    for n, words in enumerate(lines):
        axes.text(left + 12, top + PAD + LINE * (n + 0.5), words, fontsize=draw.NORMAL, parse_math=False, zorder=4,
                  color=draw.INK if n == 0 else draw.SOFT, fontweight="bold" if n == 0 else "normal",
                  verticalalignment="center_baseline")  # fmt: skip


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A straight line with a head at its end."""
    draw.line(axes, (start[0], end[0]), (start[1], end[1]), "border")
    across = 1 if end[0] != start[0] else 0
    x, y = end[0] - 5 * across, end[1] - 5 * (1 - across)
    axes.fill(
        [end[0], x - 4 * (1 - across), x + 4 * (1 - across)], [end[1], y - 4 * across, y + 4 * across],
        facecolor=draw.SOFT, linewidth=0, zorder=2, clip_on=False,
    )  # fmt: skip


def _words(listed: Row, excluded: Sequence[Row], splits: dict[str | None, Row]) -> str:
    """The diagram as a sentence for those who do not see it."""
    names = ("patients", "images", "lesions")
    lost = "; ".join(f"{count(row['lesions'])} ({term(row['reason'], EXCLUDED)})" for row in excluded) or "none"
    parts = "; ".join(f"{SPLITS[split]}: {_counts(splits[split], names)}" for split in ORDER if split in splits)
    return f"In the data set: {_counts(listed, names)}. Lesions excluded: {lost}. {parts}."
