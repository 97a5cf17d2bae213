"""Tables of a data set, CSV or Parquet, read strictly: every complaint names file, line and remedy."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl


def read_table(path: Path, root: Path, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """(file and line, fields by column) of every record; fields stripped of blanks and line ends.

    ValueError when the file is missing, leaves the root, can't be decoded, lacks a required column, has a column twice,
    holds a NUL character, or has a record with more or fewer fields than columns.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: copy it there from the data set")
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path} is a link that leaves the data folder: copy the file into it")
    for place, fields in _parquet(path, required) if path.suffix == ".parquet" else _csv(path, required):
        if any("\0" in value for value in fields.values()):
            raise ValueError(f"{place}: holds a NUL character; restore this row")
        yield place, {name: value.strip() for name, value in fields.items()}


def _csv(path: Path, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            try:
                _check_columns(path, list(reader.fieldnames or ()), required)
                for record in reader:
                    if None in record or None in record.values():
                        raise csv.Error("not as many fields as columns")
                    yield f"{path} line {reader.line_num}", record
            except csv.Error as error:
                raise ValueError(f"{path} line {reader.line_num}: {error}; restore this row") from error
    except UnicodeDecodeError as error:
        where = path.read_bytes()[: error.start].count(b"\n") + 1 if error.start else 1
        raise ValueError(
            f"{path} is not UTF-8 (near line {where}): save it as UTF-8 or restore the original"
        ) from error


def _parquet(path: Path, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Missing values and NaN as empty text."""
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path} is no whole Parquet file ({error}): write it again") from error
    _check_columns(path, frame.columns, required)
    for number, record in enumerate(frame.iter_rows(named=True), 1):
        yield f"{path} row {number}", {name: _text(value) for name, value in record.items()}


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _check_columns(path: Path, columns: list[str], required: tuple[str, ...]) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]!r}: add it, or restore the original file")
    twice = [name for name, n in Counter(columns).items() if name and n > 1]
    if twice:
        raise ValueError(f"{path} has column {twice[0]!r} twice: rename or delete one of them")
