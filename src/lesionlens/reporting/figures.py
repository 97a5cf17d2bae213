"""Charts as data: what is drawn and where. Templates only write the SVG; colours come from the style sheet."""

from dataclasses import dataclass

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
