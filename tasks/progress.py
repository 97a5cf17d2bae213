"""Progress of long work: bars in a terminal, plain lines every ten seconds elsewhere.

Bars are drawn on the console that Prefect logs to, so a log line appears above them and tears nothing.
Plain lines go to the run's log where there is one, and so to Prefect's UI, where an artifact moves, too.
"""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.exceptions import MissingContextError
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.theme import Theme

from tasks.artifacts import moving

LINE_SECONDS = 10.0
"""Seconds between two plain lines of one stage."""
PACE_SECONDS = 60.0
"""The rate is taken over this much of the latest past."""

Advance = Callable[[int, int | None], None]


class Stage:
    """Counts of one stage of work; may be advanced from any thread.

    done: what was done before, and so says nothing of the pace. at_most: the work may end before its total.
    """

    def __init__(self, title: str, unit: str, total: int | None, done: int = 0, at_most: bool = False) -> None:
        self.title = title
        self.unit = unit
        self.total = total
        self.done = self._before = done
        self.at_most = at_most
        self._started = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque([(self._started, done)])
        self._lock = threading.Lock()

    def advance(self, done: int, total: int | None = None) -> None:
        """Set how much is done in all, and of how much."""
        with self._lock:
            self.done = done
            self.total = self.total if total is None else total
            now = time.monotonic()
            self._seen.append((now, done))
            while len(self._seen) > 2 and self._seen[1][0] < now - PACE_SECONDS:
                self._seen.popleft()

    def rate(self) -> float | None:
        """Units per second over the latest past; None before there is anything to tell."""
        with self._lock:
            (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if after > before and last > first else None

    def pace(self) -> str:
        """Rate and time left in words, as far as they are known."""
        rate = self.rate()
        if rate is None:
            return ""
        speed = f"{rate:.3g} {self.unit}/s" if rate >= 1 else f"{1 / rate:.3g} s each"
        if self.total is None or self.total <= self.done:
            return speed
        return f"{speed}, {'at most ' if self.at_most else ''}{span((self.total - self.done) / rate)} left"

    def count(self) -> str:
        """How much of how much."""
        whole = "" if self.total is None else f"/{self.total}"
        return f"{self.done}{whole} {self.unit}"

    def standing(self) -> tuple[float | None, str]:
        """Per cent done, None while the whole is unknown, and the stage's line."""
        return (100 * self.done / self.total if self.total else None), self.line()

    def line(self) -> str:
        """Where the stage stands, in one line."""
        pace = self.pace()
        return f"{self.title}: {self.count()}" + (f", {pace}" if pace else "")

    def verdict(self, finished: bool) -> str:
        """How the stage ended. A stage that stops before its total (early stopping) is finished all the same."""
        if finished:
            return f"{self.title}: {self.done - self._before} {self.unit} in {span(time.monotonic() - self._started)}"
        return f"{self.title}: stopped at {self.count()}"


def span(seconds: float) -> str:
    """A duration as people say it: 8 s, 2 min 05 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def stage(
    title: str, unit: str = "items", total: int | None = None, done: int = 0, at_most: bool = False
) -> Iterator[Advance]:
    """Show the progress of the work inside, `done` of it before; yields `advance(done, total)`.

    Stages may follow one another, lie inside one another, or run in several threads at once.
    """
    current = Stage(title, unit, total, done, at_most)
    shown = _bar(current) if _terminal() else _lines(current)
    with moving(current.standing), shown as advance:
        yield advance


def _terminal() -> bool:
    console = Console(stderr=True)
    return sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal


@contextmanager
def _lines(current: Stage) -> Iterator[Advance]:
    say = _voice()
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(LINE_SECONDS):
            say(current.line())

    speaker = threading.Thread(target=repeat, name=f"progress of {current.title}", daemon=True)
    speaker.start()
    finished = False
    try:
        yield current.advance
        finished = True
    finally:
        over.set()
        speaker.join()
        say(current.verdict(finished))


def _voice() -> Callable[[str], None]:
    """The run's log where it takes such lines, else standard error."""
    try:
        log = get_run_logger()
    except MissingContextError:
        return _print
    return log.info if log.isEnabledFor(logging.INFO) else _print


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _bar(current: Stage) -> Iterator[Advance]:
    say = _voice()
    task = _display.open(current)

    def advance(done: int, total: int | None = None) -> None:
        current.advance(done, total)
        _display.update(task, current)

    finished = False
    try:
        yield advance
        finished = True
    finally:
        _display.close(task)
        say(current.verdict(finished))


class Display:
    """The bars of all open stages of this process, drawn while there are any."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._progress: Progress | None = None

    def open(self, current: Stage) -> TaskID:
        """Add a bar; the first one starts the drawing."""
        with self._lock:
            if self._progress is None:
                self._progress = _bars(_console())
                self._progress.start()
            return self._progress.add_task(
                current.title, total=current.total, completed=current.done, count=current.count(), pace=""
            )

    def update(self, task: TaskID, current: Stage) -> None:
        """Move a bar."""
        with self._lock:
            if self._progress is not None:
                self._progress.update(
                    task, completed=current.done, total=current.total, count=current.count(), pace=current.pace()
                )

    def close(self, task: TaskID) -> None:
        """Remove a bar; the last one ends the drawing."""
        with self._lock:
            if self._progress is None:
                return
            self._progress.remove_task(task)
            if not self._progress.task_ids:
                self._progress.stop()
                self._progress.console.pop_theme()
                self._progress = None


def _console() -> Console:
    """The console of Prefect's log handler, with rich's own styles for the bars added; else a new one."""
    consoles = (getattr(handler, "console", None) for handler in logging.getLogger().handlers)
    console = next((c for c in consoles if isinstance(c, Console) and c.is_terminal), Console(stderr=True))
    console.push_theme(Theme())
    return console


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}", markup=False),
        TextColumn("{task.fields[pace]}", style="dim", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        refresh_per_second=4,
    )


_display = Display()
