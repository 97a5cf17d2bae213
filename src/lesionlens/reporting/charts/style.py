"""What charts share: axes, lines, marks and labels in the page's colours, and the way from a figure to SVG.

Sizes are user units of the SVG; one is 1/72 inch for matplotlib.
"""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
from markupsafe import Markup, escape
from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from lesionlens.reporting.data import Row, Score
from lesionlens.reporting.formatting import MINUS

PAGE_STYLE = Path(__file__).resolve().parents[4] / "templates" / "css" / "page.css"
COLOURS: dict[str, str] = dict(re.findall(r"--(\w+): light-dark\((#\w{6}),", PAGE_STYLE.read_text(encoding="utf-8")))
"""The page's light colours by the names of its CSS variables."""
VARIABLES = {colour: f"var(--{name})" for name, colour in COLOURS.items()}
INK, SOFT, RULE, PAPER = (COLOURS[name] for name in ("ink", "soft", "rule", "paper"))
SERIES = [COLOURS[f"s{n}"] for n in range(8)]
LINES: dict[str, dict[str, Any]] = {
    "curve": {"linewidth": 2},
    "thin": {"linewidth": 1.6},
    "dotted": {"linewidth": 1.5, "alpha": 0.6, "linestyle": (0, (1.4, 2))},
    "dashed": {"linewidth": 1.3, "alpha": 0.7, "linestyle": (0, (4, 3))},
    "level": {"linewidth": 1.2, "alpha": 0.75},
    "interval": {"linewidth": 4, "alpha": 0.55, "solid_capstyle": "round"},
    "whisker": {"linewidth": 1.5, "alpha": 0.6},
    "border": {"linewidth": 1.5},
}
SMALL, NORMAL = 11, 12
NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SETTINGS = {name: value for name, value in rcParamsDefault.items() if not name.startswith("backend")}
SETTINGS |= {"svg.fonttype": "none", "svg.hashsalt": "lesionlens"}
DRAWING = Lock()


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure as SVG; `summary` says in words what it shows, `name` is unique on its page.

    inline: for the page, in its CSS variables. alone: a file, in the light colours on white.
    """

    name: str
    title: str
    summary: str
    figure: Figure = field(repr=False, compare=False)
    inline: Markup
    alone: str

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]


def series(n: int) -> str:
    """Colour of the n-th series; they repeat after eight."""
    return SERIES[n % len(SERIES)]


@contextmanager
def own_settings() -> Iterator[None]:
    """Settings of matplotlib that no user has changed; they are the process's, so only one thread draws at a time."""
    with DRAWING, rc_context(SETTINGS):
        yield


@own_settings()
def canvas(
    x: tuple[float, float],
    y: tuple[float, float],
    x_label: str,
    y_label: str = "",
    right: float = 260,
    size: tuple[float, float] = (270, 238),
    left: float = 32,
    top: float = 24,
    grid: Literal["x", "y"] = "y",
) -> tuple[Figure, Axes]:
    """A figure of `size` and its empty axes: data limits x and y, edges from the figure's top left."""
    width, height = size
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, frameon=False)
    axes = figure.add_axes((left / width, 38 / height, (right - left) / width, 1 - (top + 38) / height), xlim=x, ylim=y)
    axes.patch.set_visible(False)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set(color=SOFT, linewidth=1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(lambda value, _: f"{round(value, 10):g}".replace("-", MINUS))
    axes.tick_params(length=0, pad=7, labelsize=SMALL, labelcolor=SOFT)
    axes.grid(axis=grid, color=RULE, linewidth=1, clip_on=False)
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label, fontsize=SMALL, color=SOFT, labelpad=6)
    figure.text(2 / width, 1 - (top - 14) / height, y_label, fontsize=SMALL, color=SOFT)
    return figure, axes


def scored(row: Row, value: str, ends: str = "") -> Score:
    """A score of a row, from its columns `value`, `ends`low and `ends`high."""
    return Score(row.get(value), row.get(f"{ends}low"), row.get(f"{ends}high"), row.get("n") or 0)


def line(axes: Axes, x: Iterable[float], y: Iterable[float], kind: str, colour: str = SOFT) -> None:
    """A line through the points; `kind` is a key of LINES."""
    axes.plot(list(x), list(y), color=colour, clip_on=False, solid_joinstyle="round", zorder=2,
              **{"linestyle": "-", "solid_capstyle": "butt"} | LINES[kind])  # fmt: skip


def interval(axes: Axes, own: Score, at: float, kind: str, colour: str = SOFT, across: bool = False) -> None:
    """The interval of a score, if any, upright at x = `at` or across at y = `at`, as far as the axes reach."""
    if own.low is not None and own.high is not None:
        ends = np.clip((own.low, own.high), *(axes.get_xlim() if across else axes.get_ylim()))
        x, y = (ends, (at, at)) if across else ((at, at), ends)
        line(axes, x, y, kind, colour)


def mark(
    axes: Axes, x: float, y: float, tip: str, size: float, colour: str = "", marker: str = "o", label: str = "",
    edge: float = 1.6,
) -> None:  # fmt: skip
    """A mark of diameter `size` with a tooltip: filled in the colour of a series, or an open grey one. `label` stands
    above it."""
    face, rim = (colour, PAPER) if colour else (PAPER, SOFT)
    axes.plot([x], [y], linestyle="none", marker=marker, markersize=size, markerfacecolor=face, markeredgecolor=rim,
              markeredgewidth=edge, clip_on=False, zorder=3, gid=f"tip:{tip}")  # fmt: skip
    if label:
        axes.annotate(label, (x, y), (0, 5 + size / 2), textcoords="offset points", color=colour or SOFT,
                      fontsize=NORMAL, fontweight="bold", horizontalalignment="center")  # fmt: skip


def labels(axes: Axes, ends: Sequence[tuple[float, str, str]], gap: float = 15) -> None:
    """Direct labels right of the axes, each (value on the y axis, text, colour) at its value or near it."""
    (low, high), tall = axes.get_ylim(), axes.bbox.height
    wide, longest = axes.figure.bbox.width - axes.bbox.x1 - 9, max((_ems(text) for _, text, _ in ends), default=1)
    size = min(NORMAL, 0.9 * tall / max(len(ends) - 1, 1), wide / longest)
    heights = spread([(value - low) / (high - low) * tall for value, _, _ in ends], gap, tall)
    for height, (_, text, colour) in zip(heights, ends, strict=True):
        axes.annotate(text, (1, height / tall), (9, 0), xycoords="axes fraction", textcoords="offset points",
                      color=colour, fontsize=size, fontweight="normal" if colour == SOFT else "bold",
                      verticalalignment="center_baseline", parse_math=False)  # fmt: skip


def cut(name: str, most: int) -> str:
    """The name in at most so many letters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def apart(names: Sequence[str], most: int) -> list[str]:
    """The names in at most so many letters each; by their last words where their beginnings are the same."""
    short = [cut(name, most) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    ends = [name[1 - most :] for name in names]
    return [
        name if len(name) <= most else f"…{end.partition(' ')[2] or end}" for name, end in zip(names, ends, strict=True)
    ]


def _ems(text: str) -> float:
    """Width of bold text in units of its size, of a wide font."""
    return sum(0.78 if letter.isupper() else 0.66 for letter in text) or 1.0


def spread(wanted: Sequence[float], gap: float, room: float) -> list[float]:
    """The positions in 0..room nearest to the wanted ones that keep their order and lie at least `gap` apart, or as
    far apart as there is room."""
    if not wanted:
        return []
    order = np.argsort(wanted, kind="stable")
    steps = min(gap, room / max(len(wanted) - 1, 1)) * np.arange(len(wanted))
    placed = isotonic_regression(np.asarray(wanted, dtype=np.float64)[order] - steps).x.clip(0, room - steps[-1])
    result = np.empty(len(wanted))
    result[order] = placed + steps
    return [float(at) for at in result]


def chart(name: str, title: str, summary: str, figure: Figure) -> Chart:
    """The figure as SVG with its title and description; the same data give the same bytes."""
    width, height = (f"{72 * side:g}" for side in figure.get_size_inches())
    drawn = _drawn(figure, name)
    coloured = re.sub(r'style="[^"]*"', lambda style: re.sub(r"#\w{6}", _variable, style[0]), drawn)
    words = f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(summary)}</desc>'
    labelled = f'role="img" aria-labelledby="{name}-t {name}-d" font-family="sans-serif" stroke-linejoin="round"'
    head = f'viewBox="0 0 {width} {height}" {labelled}>{words}'
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    alone = f'<svg {NAMESPACES} width="{width}" height="{height}" {head}{ground}{drawn}</svg>\n'
    return Chart(name, title, summary, figure, Markup(f"<svg {head}{coloured}</svg>"), alone)


def _variable(colour: re.Match[str]) -> str:
    return VARIABLES.get(colour[0], colour[0])


@own_settings()
def _drawn(figure: Figure, name: str) -> str:
    """What matplotlib draws, in fewer bytes: hundredths of a unit, the page's font, tooltips in place of groups' ids,
    and ids of marks that no other chart has."""
    written, nothing = io.StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(written, metadata=nothing)  # type: ignore[no-untyped-call]
    drawn = written.getvalue()
    drawn = drawn[drawn.index('<g id="figure_1">') : drawn.rindex("</svg>")]
    for pattern, new in (
        (r'<g id="tip:([^"]*)">', r"<g><title>\1</title>"),
        (r'<g id="[^"]*"(/?)>', r"<g\1>"),
        (r'(<path id="|<use xlink:href="#)m', rf"\g<1>{name}-"),
        (r' transform="rotate\(-0 [^"]*"| font-family: [^;"]*;', ""),
        (r" ?\n *|<g/>", ""),
    ):
        drawn = re.sub(pattern, new, drawn)
    drawn = re.sub(r'(?<= [dxy]=")[^"]*', lambda places: re.sub(r"-?\d+\.\d{3,}", _short, places[0]), drawn)
    return re.sub(r'<g>((?:<use [^>]*?( style="[^"]*")/>)+)</g>', _styled_once, drawn)


def _short(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _styled_once(marks: re.Match[str]) -> str:
    """Marks of one group look the same."""
    return f"<g{marks[2]}>{marks[1].replace(marks[2], '')}</g>"
