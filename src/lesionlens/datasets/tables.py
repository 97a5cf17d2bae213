"""Tables of a data set, CSV or Parquet, read strictly: every complaint names file, line and remedy."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

DELIMITERS = (",", ";", "\t", "|")
ALIKE = 0.85  # of 1: how much the name of an unknown column may be like an optional one


def read_table(
    path: Path, root: Path, required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """(file and line, fields by column) of every record that is not empty; fields stripped of blanks and line ends.

    Columns are found whatever their case and the blanks around them. A CSV may be separated by commas, semicolons,
    tabulators or bars, may say so in a first line `sep=`, and may have blanks after the separators.

    ValueError when the file is missing, leaves the root, can't be decoded, lacks a required column, has a column twice
    or one whose name is nearly that of a column it lacks, holds a NUL character, or has a record with more or fewer
    fields than columns.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: copy it there from the data set")
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path} is a link that leaves the data folder: copy the file into it")
    records = _parquet(path) if path.suffix == ".parquet" else _csv(path, required)
    _, header = next(records, ("", []))
    names = _columns(path, [name.strip() for name in header], required, optional)
    for place, values in records:
        if len(values) != len(names):
            raise ValueError(f"{place}: {len(values)} fields, but {len(names)} columns; restore this row")
        fields = {name: value.strip() for name, value in zip(names, values, strict=True)}
        if any("\0" in value for value in fields.values()):
            raise ValueError(f"{place}: holds a NUL character; restore this row")
        if any(fields.values()):
            yield place, fields


def _csv(path: Path, required: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The header, then every record, each with its file and line."""
    lines = io.StringIO(_text(path), newline="")
    first = lines.readline()
    said = first.strip().strip('"')
    if said.lower().startswith("sep=") and len(said) == 5:
        delimiter, before = said[4], 1
    else:
        delimiter, before = _delimiter(first, required), 0
        lines.seek(0)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for record in reader:
            if record:
                yield f"{path} line {reader.line_num + before}", record
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num + before}: {error}; restore this row") from error


def _delimiter(header: str, required: Sequence[str]) -> str:
    """The separator at which the most of the required columns come out of the header line."""

    def found(delimiter: str) -> int:
        names = {name.strip().strip('"').strip().casefold() for name in header.split(delimiter)}
        return len(names & {name.casefold() for name in required})

    return max(DELIMITERS, key=found)


def _text(path: Path) -> str:
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        where = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} is not UTF-8 (near line {where}): save it as UTF-8 or restore the original"
        ) from error


def _parquet(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The names of columns, then every row; missing values and NaN as empty text."""
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path} is no whole Parquet file ({error}): write it again") from error
    yield str(path), frame.columns
    for number, record in enumerate(frame.iter_rows(), 1):
        yield f"{path} row {number}", [_plain(value) for value in record]


def _plain(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _columns(path: Path, header: list[str], required: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The header with required and optional columns by their own names."""
    known = {name.casefold(): name for name in (*required, *optional)}
    names = [known.get(name.casefold(), name) for name in header]
    twice = [name for name, n in Counter(names).items() if name and n > 1]
    if twice:
        raise ValueError(f"{path} has column {twice[0]!r} twice: rename or delete one of them")
    others = {name.casefold(): name for name in names if name and name not in known.values()}
    for name in required:
        if name not in names:
            near = get_close_matches(name, others, n=1)
            found = (
                f"found {others[near[0]]!r}: rename it" if near else f"found {', '.join(map(repr, names)) or 'none'}"
            )
            raise ValueError(f"{path} has no column {name!r}; {found}, or restore the original file")
    for name in optional:
        near = [] if name in names else get_close_matches(name, others, n=1, cutoff=ALIKE)
        if near:
            found = others[near[0]]
            raise ValueError(f"{path}: column {found!r} is not read; rename it to {name!r}, or to something unlike it")
    return names
