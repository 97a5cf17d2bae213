"""Two or more ways of the same work, measured in turns, as ratios with spread."""

import statistics
import time
from collections.abc import Callable, Mapping

Seconds = dict[str, list[float]]


def interleaved(
    sides: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
    after: Callable[[], object] = lambda: None,
) -> Seconds:
    """Seconds per side and round, by default CPU seconds of the process.

    Each round starts with another side; one round warms up. `after` follows each side, uncounted.
    """
    names = list(sides)
    found: Seconds = {name: [] for name in names}
    for number in range(rounds + 1):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            started = clock()
            sides[name]()
            if number:
                found[name].append(clock() - started)
            after()
    return found


def spread(values: list[float], digits: int = 2) -> str:
    """Median (lowest to highest)."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def ratios(seconds: Seconds, ours: str, peer: str) -> list[float]:
    """How many times as long the peer took, round by round."""
    return [b / a for a, b in zip(seconds[ours], seconds[peer], strict=True)]
