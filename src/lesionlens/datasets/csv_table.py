"""CSV files of a data set, read strictly: every complaint names file, line and remedy."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path


def read_table(path: Path, root: Path, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, fields by column) of every record; fields stripped of blanks and line ends.

    ValueError when the file is missing, leaves the root, is not UTF-8, lacks a required column, has a column twice, or
    has a record with more or fewer fields than columns.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: copy it there from the data set's csv folder")
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path} is a link that leaves the data folder: copy the file into it")
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from _records(path, csv.DictReader(lines, strict=True), required)
    except UnicodeDecodeError as error:
        where = path.read_bytes()[: error.start].count(b"\n") + 1 if error.start else 1
        raise ValueError(
            f"{path} is not UTF-8 (near line {where}): save it as UTF-8 or restore the original"
        ) from error


def _records(
    path: Path, reader: "csv.DictReader[str]", required: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        missing = [name for name in required if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]!r}: add it, or restore the original file")
        twice = [name for name, n in Counter(reader.fieldnames).items() if name and n > 1]
        if twice:
            raise ValueError(f"{path} has column {twice[0]!r} twice: rename or delete one of them")
        for record in reader:
            if None in record or None in record.values():
                raise ValueError(f"{path} line {reader.line_num}: not as many fields as columns; restore this row")
            if any("\0" in value for value in record.values()):
                raise ValueError(f"{path} line {reader.line_num}: holds a NUL character; restore this row")
            yield reader.line_num, {name: value.strip() for name, value in record.items()}
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num}: {error}; restore this row") from error
