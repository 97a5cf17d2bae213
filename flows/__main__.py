"""The command line: python -m flows demo | study | compare | serve | worker | stop.

Prefect reads its settings when it is imported, so the server's address and home are put into the
environment first and the flows are imported after.
"""

import argparse
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from db.cli import FAULTS, error_message
from db.engine import make_engine
from flows import server
from flows.processes import ServerError
from lesionlens.config import StudyConfig
from lesionlens.datasets.registry import recognised
from lesionlens.errors import TrainingError
from lesionlens.presets import PRESETS, preset
from lesionlens.settings import home


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status (130 after Ctrl-C or a cancellation, 2 for a wrong argument)."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.command == "serve":
            server.serve(home().ensure())
            return 0
        if options.command == "worker":
            server.work(options.limit)
        if options.command == "stop":
            return _stop()
        if options.command == "compare":
            return _compare(tuple(options.studies), tuple(options.runs))
        return _run(_configuration(options))
    except (*FAULTS, ValidationError, ValueError, FileNotFoundError, ServerError, TrainingError) as error:
        print(f"lesionlens: {error_message(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept; the same command goes on from here.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows", description="Does the classifier look at the lesion?")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="the whole study on synthetic mammograms")
    study = commands.add_parser("study", help="the whole study on a data set")
    study.add_argument("--preset", choices=PRESETS, default="sound", help="a named configuration")
    study.add_argument("--data", type=Path, help="folder of CBIS-DDSM, or of a manifest.csv (docs/data.md)")
    study.add_argument("--config", type=Path, help="a StudyConfig as JSON, instead of a preset")
    compare = commands.add_parser("compare", help="several studies of the record, or runs of any, on one page")
    compare.add_argument("studies", nargs="*", metavar="STUDY", help="a study's number or name")
    compare.add_argument(
        "--runs", type=int, nargs="+", default=[], metavar="RUN", help="show only these runs, of any study"
    )
    commands.add_parser("serve", help="Prefect server, UI and worker on 127.0.0.1:4200")
    worker = commands.add_parser(
        "worker", help="take shares of studies from a server elsewhere (docs/orchestration.md)"
    )
    worker.add_argument("--limit", type=int, default=1, help="shares at once on this machine")
    commands.add_parser("stop", help="stop server, workers and embedded record")
    return parser


def _configuration(options: argparse.Namespace) -> StudyConfig:
    if options.command == "demo":
        return preset("demo")
    if options.config is not None:
        return recognised(StudyConfig.model_validate_json(options.config.read_text()))
    return recognised(preset(options.preset, options.data and options.data.resolve()))


def _run(config: StudyConfig) -> int:
    make_engine()  # a record that can't be used is told before anything starts
    with server.running_server(home().ensure()):
        from flows.study import study
        from tasks.cancellation import StoppedError

        try:
            page = study(config)
        except StoppedError as stopped:
            raise KeyboardInterrupt from stopped
    print(f"\nReport: {page}\nQuery:  make psql   (for example: TABLE table_2_accuracy; TABLE table_4_localization;)")
    return 0


def _compare(studies: tuple[str, ...], runs: tuple[int, ...]) -> int:
    if not studies and not runs:
        raise ValueError("name at least one study, or runs of any (--runs 3 7), to compare")
    make_engine()
    with server.running_server(home().ensure()):
        from flows.compare import compare

        page = compare(studies, runs)
    print(f"\nComparison: {page}")
    return 0


def _stop() -> int:
    from db.postgres import server as record

    server.stop(home())
    record.stop(home().record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
