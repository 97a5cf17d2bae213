"""The command line: python -m flows demo | study | evaluate | compare | card | serve | stop.

Prefect reads its settings when it is imported, so flows are imported once its server is chosen.
"""

import argparse
import signal
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from db.cli import FAULTS, error_message
from db.engine import make_engine
from db.postgres import server as record
from flows import serve, server
from flows.environment import ServerError
from lesionlens.config.presets import PRESETS, preset
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.registry import resolve_source
from lesionlens.errors import TrainingError
from lesionlens.settings import home


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status (130 after Ctrl-C or a cancellation, 2 for a wrong argument)."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it may be closed, or of another kind
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a letter it lacks ends no study
    options = _parser().parse_args(arguments)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) != signal.SIG_IGN:  # nohup stays in force
            signal.signal(ending, signal.default_int_handler)
    try:
        options.run(options)
    except (*FAULTS, ValidationError, ValueError, OSError, ServerError, TrainingError) as error:
        print(f"lesionlens: {error_message(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. What is finished is kept; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows", description="Does the classifier look at the lesion?")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="the whole study on synthetic mammograms")
    demo.set_defaults(run=lambda _: _study(preset("demo")))
    study = commands.add_parser("study", help="the whole study on a data set")
    study.add_argument("--preset", choices=PRESETS, default="sound", help="a named configuration")
    study.add_argument("--data", type=Path, help="folder of CBIS-DDSM, or of a manifest.csv (docs/data.md)")
    study.add_argument("--config", type=Path, help="a StudyConfig as JSON, instead of a preset")
    study.set_defaults(run=lambda options: _study(_configuration(options)))
    external = commands.add_parser("evaluate", help="a finished run on another data set, beside its own test split")
    external.add_argument("run_id", type=int, metavar="RUN", help="the run's number (TABLE runs)")
    external.add_argument("--data", type=Path, required=True, help="folder of the other data set; all of it is test")
    external.set_defaults(run=lambda options: _evaluate(options.run_id, options.data))
    compare = commands.add_parser("compare", help="several studies of the record, or runs of any, on one page")
    compare.add_argument("studies", nargs="*", metavar="STUDY", help="a study's id or name")
    compare.add_argument(
        "--runs", type=int, nargs="+", default=[], metavar="RUN", help="show only these runs, of any study"
    )
    compare.set_defaults(run=lambda options: _compare(tuple(options.studies), tuple(options.runs)))
    card = commands.add_parser("card", help="the model card of a study of the record, as Markdown and JSON")
    card.add_argument("study", metavar="STUDY", help="a study's id or name")
    card.set_defaults(run=lambda options: _card(options.study))
    serving = commands.add_parser("serve", help="Prefect's server, UI and worker on 127.0.0.1:4200")
    serving.set_defaults(run=lambda _: serve.serve(home().ensure()))
    stop = commands.add_parser("stop", help="stop server, worker and embedded record")
    stop.set_defaults(run=lambda _: _stop())
    return parser


def _configuration(options: argparse.Namespace) -> StudyConfig:
    if options.config is not None:
        return resolve_source(StudyConfig.model_validate_json(options.config.read_text("utf-8-sig")))
    return resolve_source(preset(options.preset, options.data and options.data.resolve()))


def _study(config: StudyConfig) -> None:
    make_engine()  # a record that cannot be used is reported before anything starts
    with server.running_server(home().ensure()):
        from flows.study import study
        from tasks.progress import StoppedError

        try:
            page = study(config)
        except StoppedError as stopped:
            raise KeyboardInterrupt from stopped
    print(f"\nReport: {page}\nQuery:  make psql   (for example: TABLE table_2_accuracy; TABLE table_4_localization;)")


def _evaluate(run: int, data: Path) -> None:
    make_engine()
    with server.running_server(home().ensure()):
        from flows.steps import evaluate_external
        from tasks.progress import StoppedError

        try:
            page = evaluate_external(run, data.resolve())
        except StoppedError as stopped:
            raise KeyboardInterrupt from stopped
    print(f"\nReport: {page}\nQuery:  make psql   (for example: TABLE external;)")


def _compare(studies: tuple[str, ...], runs: tuple[int, ...]) -> None:
    if not studies and not runs:
        raise ValueError("name at least one study, or runs of any (--runs 3 7), to compare")
    make_engine()
    with server.running_server(home().ensure()):
        from flows.steps import compare

        page = compare(studies, runs)
    print(f"\nComparison: {page}")


def _card(study: str) -> None:
    make_engine()
    with server.running_server(home().ensure()):
        from flows.steps import card

        path = card(study)
    print(f"\nModel card: {path}\nAs JSON:    {path.with_suffix('.json')}")


def _stop() -> None:
    stopped = serve.stop(home())
    record.stop(home().record)
    print("Stopped." if stopped else "No server and no worker of this home runs here.")


if __name__ == "__main__":
    sys.exit(main())
