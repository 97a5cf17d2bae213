"""Console and UI logs: one line for an error with a message for people, a traceback for any other."""

import logging
import os
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENDINGS = ("Crash detected!", "Finished in state Failed(", "Finished in state Crashed(")
OURS = tuple(str(ROOT / folder) + os.sep for folder in ("src", "flows", "tasks", "db"))


def shorten_errors() -> None:
    """Log errors that lesionlens raised without a traceback: their message names the cause and the remedy.

    Flows call it when they begin, in whatever process they run: Prefect sets up its loggers at the start of each.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_shorten)


def say_errors_once() -> None:
    """Leave to the command what its last line says: the console shows no error that ends a flow, nor how it ends.

    The server's log keeps both. To be called once flows are imported, as Prefect makes its handlers then.
    """
    for handler in {*logging.getLogger("prefect").handlers, *logging.getLogger().handlers}:
        handler.addFilter(_is_no_ending)


def _is_no_ending(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and not isinstance(error, Exception):  # Ctrl-C
        return False
    if getattr(record, "ends_the_flow", False) or (error is not None and _is_for_people(error)):
        return False
    return not str(record.msg).startswith(ENDINGS)


def _shorten(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and _is_for_people(error):
        record.msg, record.args, record.exc_info = "%s: %s", (type(error).__name__, error), None
        record.ends_the_flow = True
    elif str(record.msg).startswith("Finished in state Failed("):  # the line above holds the reason
        record.msg = "Finished in state Failed()"
    return True


def _is_for_people(error: BaseException) -> bool:
    """Whether the error is of a kind with a message for people, raised in this project's own code."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    kinds = (ValueError, RuntimeError, OSError, ImportError)
    return isinstance(error, kinds) and any(frame.filename.startswith(OURS) for frame in last)
