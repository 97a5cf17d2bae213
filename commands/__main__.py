"""The command line: every command with its place in the help, and how errors are told.

What is imported here must be light: the first line of a command must not wait for torch, Prefect or SQLAlchemy.
"""

import atexit
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console

from commands import configuration, data, models, record, services, studies, study
from lesionlens import __version__

COMMANDS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Studies": (data.check, study.demo, study.study, studies.list_, studies.delete, configuration.config),
    "Steps of a study": (study.prepare, study.train, study.evaluate, study.report),
    "Reports": (studies.compare, studies.card),
    "Models": (models.examine, models.export, models.predict),
    "The record": (record.sql, record.results, record.connect, record.backup, record.restore, record.migrate),
    "Services": (services.serve, services.stop, data.fetch),
}
HELP = "Does the classifier look at the lesion? Trains, explains and compares lesion classifiers."


def application() -> App:
    """The parser of all commands."""
    app = App(
        name="lesionlens", help=HELP, version=__version__, help_format="markdown", result_action="return_value",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(show_default=False, negative=()),
    )  # fmt: skip
    for order, (title, functions) in enumerate(COMMANDS.items()):
        group = Group(title, sort_key=order)
        for function in functions:
            app.command(function, name=function.__name__.rstrip("_").replace("_", "-"), group=group)
    options = Group("Options", sort_key=len(COMMANDS))
    app.register_install_completion_command(help="Let the shell complete commands and options.", group=options)
    app["--help"].group = app["--version"].group = (options,)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 130 after Ctrl-C or a cancellation, 2 for what a person can mend."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            with suppress(OSError, ValueError):  # it may be closed
                stream.reconfigure(errors="backslashreplace")  # a letter it lacks ends no study
    atexit.register(gc.freeze)  # Python would look through all that PyTorch and Prefect made, for 2 s, as it ends
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) != signal.SIG_IGN:  # nohup stays in force
            signal.signal(ending, signal.default_int_handler)
    try:
        application()(
            sys.argv[1:] if arguments is None else arguments, exit_on_error=False, print_error=False,
            console=Console(soft_wrap=False),
        )  # fmt: skip
    except CycloptsError as error:
        return _refused(" ".join(str(error).split()))
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept; the same command goes on from here.", file=sys.stderr)
        return 130
    except Exception as error:
        message = services.told(error)
        if message is None:
            raise
        return _refused(message)
    return 0


def _refused(message: str) -> int:
    print(f"lesionlens: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
