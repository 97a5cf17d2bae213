"""Console and UI logs: one line for an error with a message for people, a traceback for any other."""

import logging
import os
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = tuple(str(ROOT / folder) + os.sep for folder in ("src", "flows", "tasks", "db"))


def shorten_errors() -> None:
    """Log errors that lesionlens raised without a traceback: their message names the cause and the remedy.

    Flows call it when they begin, in whatever process they run: Prefect sets up its loggers at the start of each.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_shorten)


def _shorten(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and _is_for_people(error):
        record.msg, record.args, record.exc_info = "%s: %s", (type(error).__name__, error), None
    elif str(record.msg).startswith("Finished in state Failed("):  # the line above holds the reason
        record.msg = "Finished in state Failed()"
    return True


def _is_for_people(error: BaseException) -> bool:
    """Whether the error is of a kind with a message for people, raised in this project's own code."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    kinds = (ValueError, RuntimeError, OSError, ImportError)
    return isinstance(error, kinds) and any(frame.filename.startswith(OURS) for frame in last)
