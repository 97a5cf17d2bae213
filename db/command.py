"""How commands fail where the record is at fault: one line that says what to do, no traceback, no password."""

import sys
from collections.abc import Callable
from functools import wraps

from sqlalchemy.exc import DBAPIError

from db.migrate import RecordError
from db.postgres import ServerError

FAULTS = (RecordError, ServerError, DBAPIError)
"""The record cannot be reached, or is not as this code needs it."""


def said(error: BaseException) -> str:
    """What to tell a person of an error."""
    if isinstance(error, DBAPIError):  # what the server said; the statement is of no use to who typed the command
        return f"the record cannot be reached or used: {' '.join(str(error.orig).split())}"
    return str(error)


def in_one_line(command: Callable[..., int]) -> Callable[..., int]:
    """The command, with status 1 and a line on standard error where the record cannot be reached or is not as asked."""

    @wraps(command)
    def run(arguments: list[str] | None = None) -> int:
        try:
            return command(arguments)
        except (*FAULTS, ValueError) as error:
            print(f"lesionlens: {said(error)}", file=sys.stderr)
            return 1

    return run
