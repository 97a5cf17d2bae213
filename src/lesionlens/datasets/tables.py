"""Tables of a data set, CSV or Parquet, and the names in them: every complaint names file, line and remedy.

What `manifest` and `coco` share is here, too: files as people name them, classes, splits, names that look alike.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import polars as pl

from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import path_below
from lesionlens.records import SPLITS, Label, Outline

DELIMITERS = (",", ";", "\t", "|")
# What an index of the record takes, in UTF-8: keys of samples are made of the image's and the lesion's names.
MOST_BYTES = {"image": 1500, "mask": 4000, "label": 400, "patient": 400, "view": 400, "side": 400, "lesion": 400}
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
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(names):
            raise ValueError(f"{place}: {len(values)} fields, but {len(names)} columns; restore this row")
        fields = {name: value.strip() for name, value in zip(names, values, strict=True)}
        if any("\0" in value for value in fields.values()):
            raise ValueError(f"{place}: holds a NUL character; restore this row")
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
        text = data.decode(encoding)
        wide = text.partition("\n")[0].find("\0")  # UTF-16 without its mark, UTF-32
        if wide >= 0:
            raise UnicodeDecodeError(encoding, data, wide, wide + 1, "NUL")
        return text
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


def find_file(root: Path, name: str) -> str:
    """A file as a person may name it, as its path below `root`.

    Backslashes are taken for slashes and absolute paths below `root` for relative ones, and accents may be composed
    or not, where no file has the very name; so may letters be large or small, where that leaves one file. A name that
    leads nowhere comes back as it is, without `./`.
    """
    plain = str(PurePosixPath(name))
    tries = [plain, str(PurePosixPath(PureWindowsPath(name).as_posix()))]
    for start in (root.absolute(), root.resolve()):
        tries += [t.removeprefix(f"{start.as_posix()}/") for t in tries[:2] if t.startswith(f"{start.as_posix()}/")]
    tries += [unicodedata.normalize(form, t) for t in tries for form in ("NFC", "NFD")]
    for candidate in dict.fromkeys(tries):
        try:
            if path_below(root, candidate).is_file():
                return candidate
        except UnusableImageError:
            continue
    for candidate in dict.fromkeys(tries):
        found = _in_any_case(root, candidate)
        if found:
            return found
    return tries[1] if "\\" in name and ".." not in tries[1] and not PureWindowsPath(name).drive else plain


def _in_any_case(root: Path, name: str) -> str | None:
    """The one file below `root` whose path differs from `name` in case alone; None where there is none, or two."""
    if "\0" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return None
    found = [""]
    for part in PurePosixPath(name).parts:
        entries = [(folder, entry) for folder in found for entry in _entries(root / folder)]
        found = [str(PurePosixPath(folder, entry)) for folder, entry in entries if entry.casefold() == part.casefold()]
    try:
        return found[0] if len(found) == 1 and path_below(root, found[0]).is_file() else None
    except UnusableImageError:
        return None


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def outline_of(box: tuple[float, float, float, float]) -> Outline:
    """The outline of a box (x, y, width, height) in pixels."""
    x, y, width, height = box
    return Outline((((x, y), (x + width, y), (x + width, y + height), (x, y + height)),))


def labels_of(classes: Mapping[str, bool]) -> tuple[Label, ...]:
    """Classes by name and whether they have lesions: those without first, each by name, each a group of its own."""
    order = sorted(classes, key=lambda name: (classes[name], name))
    return tuple(Label(name, name, name, n, classes[name]) for n, name in enumerate(order))


def check_official_splits(path: Path, named: set[str]) -> None:
    """ValueError where splits are named, but not both train and test."""
    splits = named - {""}
    if splits and not splits >= {"train", "test"}:
        absent = "test" if "train" in splits else "train"
        raise ValueError(f"{path}: no row's split is {absent} (of {', '.join(SPLITS)}); name some so, or name none")


def check_alike(what: str, named: Iterable[tuple[str, str]]) -> None:
    """ValueError where names differ in nothing that a reader sees, in case alone, or as numbers written otherwise; with
    (name, place) of each."""
    first: dict[str, tuple[str, str]] = {}
    for name, place in named:
        before, there = first.setdefault(_seen(name), (name, place))
        if before != name:
            raise ValueError(
                f"{place}: {what} {name!a} looks like {before!a} of {there}: write them the same, or name them apart"
            )


def _seen(name: str) -> str:
    """A name without case, accents' composition, blanks' widths and characters that do not show."""
    shown = (c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) not in ("Cc", "Cf", "Cn", "Co"))
    seen = " ".join("".join(shown).casefold().split())
    number = re.fullmatch(r"0*(\d+)(\.0*)?", seen)  # 7, 007, and 7.0, which programs make of a column with gaps
    return number[1] if number else seen
