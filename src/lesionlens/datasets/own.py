"""What the readers of own images share: files as people name them, classes, splits, names that look alike."""

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import path_below
from lesionlens.records import SPLITS, Label, Outline

# What an index of the record takes, in UTF-8: keys of samples are made of the image's and the lesion's names.
MOST_BYTES = {"image": 1500, "mask": 4000, "label": 400, "patient": 400, "view": 400, "side": 400, "lesion": 400}


def find_file(root: Path, name: str) -> str:
    """A file as a person may name it, as its path below `root`.

    Backslashes are taken for slashes and absolute paths below `root` for relative ones, and accents may be composed
    or not, where no file has the very name. A name that leads nowhere comes back as it is, without `./`.
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
    return tries[1] if "\\" in name and ".." not in tries[1] and not PureWindowsPath(name).drive else plain


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
    """ValueError where names differ in nothing that a reader sees, or in case alone; with (name, place) of each."""
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
    return " ".join("".join(shown).casefold().split())
