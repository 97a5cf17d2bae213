"""Scales, ticks and paths of hand-made SVG charts. Coordinates in user units, origin top left."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lesionlens.reporting.formatting import MINUS


@dataclass(frozen=True, slots=True)
class Scale:
    """Linear map from the data interval low..high to the drawing interval start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return round(self.start + share * (self.end - self.start), 1)


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


def steps(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside low..high, about `wanted` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def ticks(scale: Scale, wanted: int = 5) -> tuple[Tick, ...]:
    """Ticks at round numbers; a true minus sign where needed."""
    return tuple(Tick(scale(value), f"{value:g}".replace("-", MINUS)) for value in steps(scale.low, scale.high, wanted))


def path(points: Iterable[tuple[float, float]]) -> str:
    """SVG path data of straight lines through the points."""
    return " ".join(f"{'M' if index == 0 else 'L'}{x:g} {y:g}" for index, (x, y) in enumerate(points))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, at least `gap` apart and inside low..high where they fit; order is kept."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed: list[float] = []
    for index in order:
        placed.append(max(wanted[index], placed[-1] + gap if placed else low))
    limit = high
    for place in range(len(placed) - 1, -1, -1):
        placed[place] = min(placed[place], limit)
        limit = placed[place] - gap
    result = [0.0] * len(wanted)
    for index, value in zip(order, placed, strict=True):
        result[index] = round(value, 1)
    return result
