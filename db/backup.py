"""Backup and restore of the record: python -m db.backup dump FILE | restore FILE.

FILE is in PostgreSQL's custom format. Checkpoints lie beside the record and are copied as files.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import create_engine, inspect, make_url

from db.command import in_one_line
from db.engine import database_url, make_engine
from db.postgres import ServerError, program
from db.psql import environment, with_tls
from db.reader import let_read

# pg_restore 18 writes it whatever the server; one older than 17 knows no such parameter
NEW_SETTING = b"SET transaction_timeout = 0;\n"
HEAD_LINES = 40


def dump(file: Path) -> None:
    """Write the whole record to a file; it appears only when it is complete."""
    make_engine().dispose()
    part = file.with_name(file.name + ".part")
    try:
        with _program("pg_dump", "--format=custom", "--no-owner", f"--file={part}"):
            pass
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def restore(file: Path) -> None:
    """Fill an empty database from a file, all or nothing, migrate it and let the reader role see its views.

    ValueError where the database is not empty. Rights that were given to other roles are not in a restored record:
    the server may not know them.
    """
    if not file.is_file():
        raise ValueError(f"{file} is not a file")
    engine = create_engine(database_url(), hide_parameters=True)
    try:
        if inspect(engine).get_table_names():
            raise ValueError("the record is not empty: restore into a new LESIONLENS_HOME or a new database")
    finally:
        engine.dispose()
    _fill(file)
    with make_engine().begin() as connection:
        let_read(connection)


def _fill(file: Path) -> None:
    """The file's tables and rows in one transaction."""
    unpack = ("--no-owner", "--no-privileges", "--file=-", str(file))
    with (
        _program("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", stdin=subprocess.PIPE) as target,
        suppress(BrokenPipeError),  # psql has ended and says why
    ):
        assert target.stdin is not None
        target.stdin.write(b"BEGIN;\n")
        with _program("pg_restore", *unpack, stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            for _ in range(HEAD_LINES):
                line = source.stdout.readline()
                target.stdin.write(b"" if line == NEW_SETTING else line)
            shutil.copyfileobj(source.stdout, target.stdin, 1 << 20)
        target.stdin.write(b"COMMIT;\n")  # only where pg_restore read the file to its end


@contextmanager
def _program(
    name: str, *options: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A program of PostgreSQL on the record; ServerError, with what it said, where it fails."""
    variables = with_tls(environment(make_url(database_url()), os.environ))
    command = [str(program(name)), *options]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, env=variables, stdin=stdin, stdout=stdout, stderr=said) as running:
            try:
                yield running
            finally:
                if running.stdin is not None:
                    with suppress(BrokenPipeError):
                        running.stdin.close()
        if running.returncode != 0:
            said.seek(0)
            raise ServerError(f"{name} failed: {said.read().decode(errors='replace').strip()}")


@in_one_line
def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m db.backup", description="Backup and restore of the record")
    parser.add_argument("command", choices=("dump", "restore"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "dump":
        dump(options.file)
        print(
            f"{options.file}: {options.file.stat().st_size / 1e6:.1f} MB. Weights are files: copy the checkpoints, too."
        )
    else:
        restore(options.file)
        print(f"{options.file} is restored.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
