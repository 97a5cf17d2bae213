"""Backup and restore of the record: python -m db.backup dump FILE | restore FILE.

FILE is in PostgreSQL's custom format. Checkpoints lie beside the record and are copied as files.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine, inspect, make_url

from db.engine import database_url, make_engine
from db.postgres import ServerError, program
from db.psql import environment


def dump(file: Path) -> None:
    """Write the whole record to a file; it appears only when it is complete."""
    make_engine().dispose()
    part = file.with_name(file.name + ".part")
    _run("pg_dump", "--format=custom", "--no-owner", f"--file={part}")
    part.replace(file)


def restore(file: Path) -> None:
    """Fill an empty database from a file, all or nothing, and migrate it. ValueError where it is not empty."""
    if not file.is_file():
        raise ValueError(f"{file} is not a file")
    engine = create_engine(database_url())
    try:
        if inspect(engine).get_table_names():
            raise ValueError("the record is not empty: restore into a new LESIONLENS_HOME or a new database")
    finally:
        engine.dispose()
    _run("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--dbname=", str(file))
    make_engine().dispose()


def _run(name: str, *options: str) -> None:
    variables = environment(make_url(database_url()), os.environ)
    if name == "pg_restore":  # it connects only when told a database
        options = tuple(f"--dbname={variables['PGDATABASE']}" if o == "--dbname=" else o for o in options)
    done = subprocess.run(
        [str(program(name)), *options], env=variables, capture_output=True, text=True, check=False
    )  # fmt: skip
    if done.returncode != 0:
        raise ServerError(f"{name} failed: {done.stderr.strip()}")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m db.backup", description="Backup and restore of the record")
    parser.add_argument("command", choices=("dump", "restore"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    try:
        (dump if options.command == "dump" else restore)(options.file)
    except (ServerError, ValueError) as error:
        print(f"lesionlens: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
