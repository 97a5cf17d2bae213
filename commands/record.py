"""The record: a prompt, results as files, a door for other programs, backup, restore, migrations."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from commands.services import say


def sql(*options: Annotated[str, Parameter(allow_leading_hyphen=True)], write: bool = False) -> None:
    """A prompt on the record, reading only; or SQL, given or piped in.

    What is piped in is answered up to its first error.

    For example:

        lesionlens sql
        echo "TABLE table_2_accuracy;" | lesionlens sql --csv
        lesionlens sql "SELECT * FROM sample_results" --csv > samples.csv

    Args:
        options: SQL, and psql's own options.
        write: The prompt may change the record.
    """
    from db.clients import psql

    psql(options, write)


def results(
    study: str,
    /,
    *,
    format: Literal["parquet", "csv", "json", "duckdb", "coco"] = "parquet",
    to: Path | None = None,
) -> None:
    """Write the results of a study as files of numbers.

    Per sample: predictions, overlaps, maps; per run: curves and scores with intervals. parquet, csv and json give a
    folder with a file for each; duckdb one file with a table for each; coco the lesions of the test films and the marks
    of every run and method, for detection tools. In Python: `lesionlens.results("demo")`.

    For example:

        lesionlens results demo
        lesionlens results demo --format csv --to demo-csv

    Args:
        study: A study's number or name (lesionlens list).
        format: How the files are written.
        to: Folder, or DuckDB file, that is not there yet; named like the study if left out.
    """
    from db.queries.results import marked, write, write_json
    from db.queries.results import results as read
    from lesionlens.identity import file_name

    place = to or Path(f"{file_name(study)}-{'results.duckdb' if format == 'duckdb' else format}")
    if place.exists():
        raise ValueError(f"{place} is there already: name another place with --to")
    if format == "coco":
        from lesionlens.detection.coco import coco_files

        files = write_json(coco_files(**marked(study)), place)
    else:
        files = write(read(study), place, format)
    number = "1 file" if len(files) == 1 else f"{len(files)} files"
    print(f"{place}: {number}, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")


def connect(*, open_: Annotated[bool, Parameter("--open")] = False, port: int = 0) -> None:
    """Print how other programs reach the record, or open a port for them.

    The embedded record has no port. --open gives it one on this machine, for reading only and with a password, until
    Ctrl-C: for DBeaver, Excel, Power BI, R. docs/analysts.md has a line for each.

    For example:

        lesionlens connect
        lesionlens connect --open --port 5544

    Args:
        open_: Open a port for as long as this runs.
        port: The port; any that is free, if left out.
    """
    from sqlalchemy import make_url

    from db.engine import database_url, is_named, make_engine

    if port and not open_:
        raise ValueError("--port is the port that --open opens: lesionlens connect --open --port 5544")
    if not 0 <= port <= 65535:
        raise ValueError(f"there is no port {port}: choose one from 1024 to 65535")
    make_engine()
    url = make_url(database_url()).set(drivername="postgresql")
    if open_ and is_named():
        raise ValueError(f"the record is on a server of its own, which has a port: {url.render_as_string()}")
    if not open_:
        print(url.render_as_string(hide_password=True))
        if not is_named():
            say("This is a Unix socket of your own. For programs that need a port: lesionlens connect --open")
        return
    _hold_open(url.render_as_string(hide_password=False), Path(str(url.query["host"])), port)


def _hold_open(owner: str, folder: Path, port: int) -> None:
    import signal

    from db.postgres.door import DATABASE, HOST, opened
    from db.postgres.server import GUEST

    with opened(owner, folder, port) as door:
        print(f"host {HOST}  port {door.port}  database {DATABASE}\nuser {GUEST}  password {door.password}")
        print(f"\n{door.url}", flush=True)
        say("Open for reading, on this machine, until Ctrl-C.")
        with suppress(KeyboardInterrupt):
            signal.pause()
    say("Closed.")


def backup(file: Path, /) -> None:
    """Write the whole record into a file.

    Args:
        file: Where to, such as study.dump; it must not be there yet. Weights are files beside the record: copy the
            checkpoints, too.
    """
    from db import clients

    if file.exists():
        raise ValueError(f"{file} is there already: name another file")
    clients.backup(file)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB. Weights are files: copy the checkpoints, too.")


def restore(file: Path, /) -> None:
    """Fill an empty record from a file that `backup` wrote.

    Args:
        file: The backup.
    """
    from db import clients

    clients.restore(file)
    print(f"{file} is restored.")


def migrate(*, check: bool = False, revision: str | None = None) -> None:
    """Bring the record to the tables of this version.

    A reader role that was made since is given the views.

    Args:
        check: Only find out whether migrations make what db/tables describes, on a throw-away server.
        revision: Write a migration of what db/tables has more, with this title (for developers).
    """
    from db import clients

    if check or revision is not None:
        clients.check(revision)
    else:
        clients.upgrade()
