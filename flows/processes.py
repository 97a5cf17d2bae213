"""Background processes of one home: started apart from the terminal, found again, stopped.

A process is known by what it is, its command line and the home in its environment, never by a
remembered number: so nothing can go stale, and no foreign process is ever signalled.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import IO

import psutil


class ServerError(RuntimeError):
    """The server, the worker or a deployment could not be started; says what to do."""


def find(words: Sequence[str], prefect_home: Path) -> psutil.Process | None:
    """The oldest process whose command line holds `words` in this order, one after another, and that has this home."""
    found = []
    for process in psutil.process_iter():
        try:
            if _holds(process.cmdline(), words) and process.environ().get("PREFECT_HOME") == str(prefect_home):
                found.append(process)
        except psutil.Error:  # ended meanwhile, or another user's
            continue
    return min(found, key=psutil.Process.create_time, default=None)


def _holds(line: Sequence[str], words: Sequence[str]) -> bool:
    return any(list(line[i : i + len(words)]) == list(words) for i in range(len(line) - len(words) + 1))


def start(command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> psutil.Process:
    """Start a process in a session of its own, so that Ctrl-C and a killed process group leave it alone."""
    with log.open("wb") as sink:
        return psutil.Popen(
            command,
            cwd=folder,
            env=os.environ | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def alive(process: psutil.Process) -> bool:
    """Whether this very process still runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end(process: psutil.Process, patience: float = 15.0) -> None:
    """Ask a process to end, then its children that stay; after `patience` seconds each, end them by force."""
    try:
        family = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for group in ([process], family):
        for member in group:
            _signal(member, force=False)
        stayed = wait(group, patience)
        for member in stayed:
            _signal(member, force=True)
        wait(stayed, 5)


def wait(group: Sequence[psutil.Process], patience: float) -> list[psutil.Process]:
    """Wait until all have ended, at most `patience` seconds; returns those that have not.

    A zombie has ended: where no init collects orphans it would stay for ever.
    """
    until = time.monotonic() + patience
    while (stayed := [process for process in group if alive(process)]) and time.monotonic() < until:
        time.sleep(0.05)
    for process in group:
        if process not in stayed:
            with suppress(psutil.Error):
                process.wait(0)  # collects a child of ours
    return stayed


def _signal(process: psutil.Process, force: bool) -> None:
    with suppress(psutil.NoSuchProcess):
        if force:
            process.kill()
        else:
            process.terminate()


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log file, indented; says so where there is none."""
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in text[-count:]) or "  (its log is empty)"


@contextmanager
def locked(path: Path, wait: float = 120.0) -> Iterator[None]:
    """Hold the file's lock; TimeoutError if another process keeps it for longer than `wait` seconds."""
    with opened(path) as file:
        until = time.monotonic() + wait
        while not try_lock(file):
            if time.monotonic() > until:
                raise TimeoutError(f"{path} is held by another process for more than {wait:g} s")
            time.sleep(0.1)
        yield


def opened(path: Path) -> IO[str]:
    """A lock file, made where missing. Closing it, or the end of the process by whatever cause, releases its locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+")


def try_lock(file: IO[str], shared: bool = False) -> bool:
    """Take the file's lock, alone or shared, in place of one held through `file`; False if others' locks forbid it."""
    try:
        flock(file, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(file: IO[str]) -> None:
    """Release the lock held through `file`."""
    flock(file, LOCK_UN)
