"""Charts as data: what is drawn and where. Templates only write the SVG; colours come from the style sheet."""

import re
from dataclasses import dataclass

from jinja2 import Environment

from lesionlens.reporting.axes import Scale, Tick, ticks


@dataclass(frozen=True, slots=True)
class Line:
    """A path with a direct label at its end. `kind` is a style-sheet class beside the series colour."""

    d: str
    series: int | None
    kind: str = ""
    label: str = ""
    label_x: float = 0
    label_y: float = 0


@dataclass(frozen=True, slots=True)
class Dot:
    """A mark; `title` is its tooltip. `kind` is a style-sheet class."""

    x: float
    y: float
    series: int | None
    kind: str = ""
    title: str = ""
    r: float = 3.5


@dataclass(frozen=True, slots=True)
class Text:
    """A word in the chart; `anchor` as in SVG."""

    x: float
    y: float
    text: str
    kind: str = ""
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart in user units. `summary` says in words what the chart shows. y None: a chart of rows, top to bottom.
    x_named: texts name the places on the x axis, in place of ticks."""

    name: str
    title: str
    summary: str
    size: tuple[float, float]
    x: Scale
    y: Scale | None
    rows: tuple[float, float] = (0, 0)
    x_label: str = ""
    y_label: str = ""
    lines: tuple[Line, ...] = ()
    dots: tuple[Dot, ...] = ()
    texts: tuple[Text, ...] = ()
    x_named: bool = False

    @property
    def top(self) -> float:
        return self.y.end if self.y else self.rows[0]

    @property
    def bottom(self) -> float:
        return self.y.start if self.y else self.rows[1]

    @property
    def x_ticks(self) -> tuple[Tick, ...]:
        return () if self.x_named else ticks(self.x, 5)

    @property
    def y_ticks(self) -> tuple[Tick, ...]:
        return ticks(self.y, 5) if self.y else ()


SERIES = 8


def as_svg(chart: Chart, style: str, environment: Environment) -> str:
    """A figure that stands alone, in the page's light colours on white."""
    drawn = str(environment.get_template("parts.html").module.drawing(chart))  # type: ignore[attr-defined]
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart {chart.name.split("-")[0]}" '
    whole = drawn.strip().replace("<svg ", opening, 1)
    width, height = chart.size
    ground = f'<style>{style}</style><rect width="{width}" height="{height}" fill="#ffffff"/>'
    at = whole.index(">") + 1
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{whole[:at]}{ground}{whole[at:]}\n'


def stylesheet(environment: Environment) -> str:
    """The charts' rules with every variable replaced: editors and printers know no CSS variables."""
    page, charts = (environment.loader.get_source(environment, name)[0] for name in ("page.css", "charts.css"))  # type: ignore[union-attr]
    colours = dict(re.findall(r"--([\w-]+): light-dark\((#\w+),", page)) | {"sans": "sans-serif"}
    rules = []
    for selectors, body in re.findall(r"^(\.(?:chart text|grid|axis|line|dot)[^{]*)\{([^}]*)\}", charts, re.MULTILINE):
        rules.append(f"{selectors.strip()}{{{_resolved(body, colours, None)}}}")
        if "var(--series" in body:
            for n in range(SERIES):
                own = ",".join(f"{selector.strip()}.s{n}" for selector in selectors.split(","))
                rules.append(f"{own}{{{_resolved(body, colours, colours[f's{n}'])}}}")
    return "\n".join(rules)


def _resolved(body: str, colours: dict[str, str], series: str | None) -> str:
    body = re.sub(r"var\(--(ink|soft|rule|paper|sans)\)", lambda found: colours[found.group(1)], body)
    body = re.sub(r"var\(--series(?:, *([^)]+))?\)", lambda found: series or found.group(1) or colours["ink"], body)
    return body.strip()
