"""How the record's own commands fail: one line that says what to do, no traceback, no password."""

import sys
from collections.abc import Callable
from functools import wraps

from sqlalchemy.exc import DBAPIError

from db.migrate import RecordError
from db.postgres import ServerError


def in_one_line(command: Callable[..., int]) -> Callable[..., int]:
    """The command, with status 1 and a line on standard error where the record cannot be reached or is not as asked."""

    @wraps(command)
    def run(arguments: list[str] | None = None) -> int:
        try:
            return command(arguments)
        except (RecordError, ServerError, ValueError) as error:
            said = str(error)
        except DBAPIError as error:  # what the server said; the statement is of no use to who typed the command
            said = f"the record cannot be reached or used: {' '.join(str(error.orig).split())}"
        print(f"lesionlens: {said}", file=sys.stderr)
        return 1

    return run
