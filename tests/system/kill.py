"""A command whose process is killed at an event: python -m tests.system.kill EVENT study --config FILE.

Flows and tasks, and with them Prefect, are imported by the command, after this has changed what they call.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from commands.__main__ import main
from db import datasets, evaluations, reports, studies
from db.postgres import server
from lesionlens.settings import home
from lesionlens.training import checkpoints


def die() -> None:
    """As SIGKILL: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def crash_record() -> None:
    """The record's server crashes; it recovers when it is started again."""
    found = server.find(home().record)
    assert found is not None
    found.process.send_signal(signal.SIGQUIT)
    found.process.wait()


def at_call(owner: Any, name: str, number: int, act: Callable[[], None], after: bool = False) -> None:
    """Act before, or after, the call of this number of a function."""
    function, calls = getattr(owner, name), itertools.count(1)

    def counted(*arguments: Any, **named: Any) -> Any:
        call = next(calls)
        if call == number and not after:
            act()
        found = function(*arguments, **named)
        if call == number and after:
            act()
        return found

    setattr(owner, name, counted)


EVENTS: dict[str, Callable[[], None]] = {
    "while cutting, after a batch": lambda: at_call(datasets.SampleWriter, "add", 2, die),
    "after the third saved epoch": lambda: at_call(studies, "save_epoch", 4, die),
    "before a checkpoint is stored": lambda: at_call(checkpoints, "_write_here", 3, die),
    "before an evaluation is committed": lambda: at_call(evaluations, "save_evaluation", 2, die, after=True),
    "before the report is committed": lambda: at_call(reports, "save_report", 1, die, after=True),
    "the record crashes after two epochs": lambda: at_call(studies, "save_epoch", 3, crash_record),
}

if __name__ == "__main__":
    EVENTS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
