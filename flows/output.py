"""What becomes of a run's output when nobody reads it any more."""

import os
import sys

from rich.console import Console


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
