"""What a run prints: errors in a line where the line says all, and nothing that could stop it when nobody reads."""

import logging
import os
import sys
import traceback
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
OURS = tuple(str(ROOT / folder) + os.sep for folder in ("src", "flows", "tasks", "db"))


def shorten_errors() -> None:
    """Log an error that lesionlens raised with its message, which names what, where and remedy, and no traceback.

    All others keep their traceback. In the terminal and in Prefect's UI.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and _raised_here(error):
        record.msg, record.args, record.exc_info = "%s: %s", (type(error).__name__, error), None
    elif str(record.msg).startswith("Finished in state Failed("):  # the line above has said why
        record.msg = "Finished in state Failed()"
    return True


def _raised_here(error: BaseException) -> bool:
    """Whether the error is one of the kinds with a message for people, raised in this project's own code."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    kinds = (ValueError, RuntimeError, OSError, ImportError)
    return isinstance(error, kinds) and any(frame.filename.startswith(OURS) for frame in last)


def outlive_reader() -> None:
    """Go on working when the reader of standard output goes away, with the output dropped.

    A worker reads the output of its flow runs through a pipe. Where it is killed, rich, which writes Prefect's log
    lines, would end the whole process at the next line; the run itself needs no worker.
    """
    Console.on_broken_pipe = _drop  # type: ignore[assignment,method-assign]


def _drop(console: Console) -> None:
    console.quiet = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
