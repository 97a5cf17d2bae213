"""Server, worker and record as services: serve, stop, and what every command needs to run a flow."""

import gc
import sys
from importlib import import_module
from typing import Any

SCIENCE = ("lesionlens.evaluate", "lesionlens.reporting.compare", "lesionlens.phantom.dataset", "db.reports")
"""What flows import beside Prefect: seconds of PyTorch."""


def serve() -> None:
    """Prefect's server, its page and a worker, until Ctrl-C.

    The page is at http://127.0.0.1:4200. Another port: `LESIONLENS_PORT=4300 lesionlens serve`.
    """
    from lesionlens.settings import home

    place = home().ensure()
    say("Starting the server ...")
    from flows import serve as serving

    serving.serve(place)


def stop() -> None:
    """Stop server, worker and embedded record of this home."""
    from db.postgres import server
    from flows import serve as serving
    from lesionlens.settings import home

    stopped = serving.stop(home())
    server.stop(home().record)
    print("Stopped." if stopped else "No server and no worker of this home runs here.")


def run_flow(module: str, name: str, *arguments: Any) -> Any:
    """What a flow returns.

    Its module is imported once its server runs, since Prefect reads its settings then; what else it needs is imported
    while a server starts. KeyboardInterrupt where the flow
    run was cancelled in the UI.
    """
    from lesionlens.settings import home

    place = home().ensure()
    say("Starting the record, Prefect and PyTorch ...")
    from db.engine import make_engine
    from flows import server

    make_engine()  # a record that cannot be used is reported before anything else starts
    with server.running_server(place, meanwhile=lambda: imported(*SCIENCE)):
        from flows.logs import say_errors_once
        from tasks.progress import StoppedError

        flow = getattr(imported(module), name)
        say_errors_once()
        try:
            return flow(*arguments)
        except StoppedError as stopped:
            raise KeyboardInterrupt from stopped


def imported(*names: str) -> Any:
    """The last of these modules. No garbage is looked for meanwhile: that takes a fifth of the time and finds none."""
    gc.disable()
    try:
        return [import_module(name) for name in names][-1]
    finally:
        gc.enable()


def say(line: str) -> None:
    """A line for the person who waits; standard output is left to results."""
    print(line, file=sys.stderr, flush=True)


def told(error: Exception) -> str | None:
    """The error in one line, where it is of a kind that a person can mend; else None."""
    from pydantic import ValidationError

    from db.clients import FAULTS, error_message
    from flows.environment import ServerError
    from lesionlens.config.words import plain_words
    from lesionlens.datasets.download import FetchError
    from lesionlens.errors import EvaluationError, TrainingError

    if isinstance(error, ValidationError):
        return plain_words(error)
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"{error.filename} is not there"
    if isinstance(error, (*FAULTS, ValueError, OSError, ServerError, TrainingError, EvaluationError, FetchError)):
        return error_message(error)
    return None
