"""Help to obtain CBIS-DDSM: from Kaggle or from the Imaging Data Commons.

Shows size and licence first and asks. A stopped download goes on where it stopped. Checksums of all files are kept
beside them; fetching again compares with them.
"""

import contextlib
import hashlib
import importlib
import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionlens.datasets.registry import recognise

KAGGLE = "awsaf49/cbis-ddsm-breast-cancer-image-dataset"
COLLECTION = "cbis_ddsm"
IDC_HOST = ("idc-open-data.s3.amazonaws.com", 443)
CHECKSUMS = "checksums.sha256"
LICENCE = "CC BY 3.0 (Lee et al. 2017): name the data set and its makers wherever you show it"


class FetchError(Exception):
    """Why nothing could be fetched, and what to do, in one line."""


@dataclass(frozen=True, slots=True)
class Edition:
    """Where an edition comes from, its size, and how a person gets it by hand."""

    title: str
    gigabytes: float
    download: Callable[[Path], None]
    by_hand: str


def from_kaggle(folder: Path) -> None:
    """`csv/` and `jpeg/` into the folder. The unfinished archive is kept in `.kagglehub` and gone on with."""
    missing = [name for name in ("csv", "jpeg") if not (folder / name).is_dir()]  # a kill may come between two moves
    if not missing:
        return
    cache = folder / ".kagglehub"
    os.environ["KAGGLEHUB_CACHE"] = str(cache)
    kagglehub: Any = importlib.import_module("kagglehub")
    unpacked = Path(kagglehub.dataset_download(KAGGLE))
    for name in missing:
        if not (unpacked / name).is_dir():
            raise FetchError(f"Kaggle's archive holds no {name}/ any more: look at {unpacked}")
        (unpacked / name).rename(folder / name)
    shutil.rmtree(cache)


def from_idc(folder: Path) -> None:
    """All series of the collection into the folder; what is there and whole is not fetched again."""
    with contextlib.closing(socket.create_connection(IDC_HOST, timeout=20)):
        pass  # without a connection the downloader tries every series in turn and reports nothing
    client: Any = importlib.import_module("idc_index").IDCClient()
    client.download_collection(collection_id=COLLECTION, downloadDir=str(folder), use_s5cmd_sync=True)
    series = zip(client.index["collection_id"], client.index["SeriesInstanceUID"], strict=True)
    wanted = {uid for collection, uid in series if collection == COLLECTION}
    missing = wanted - {path.parent.name.removeprefix("MG_") for path in folder.rglob("*.dcm")}
    if missing:
        raise FetchError(f"{len(missing)} of {len(wanted)} series did not come: run the same command again, it goes on")


EDITIONS = {
    "kaggle": Edition(
        "CBIS-DDSM, JPEG edition, from Kaggle",
        6,
        from_kaggle,
        f"download https://www.kaggle.com/datasets/{KAGGLE} and unpack it, so that {{folder}}/csv and {{folder}}/jpeg"
        " are there",
    ),
    "idc": Edition(
        "CBIS-DDSM, DICOM edition, from Imaging Data Commons",
        163.5,
        from_idc,
        "download collection CBIS-DDSM with the NBIA Data Retriever from"
        " https://www.cancerimagingarchive.net/collection/cbis-ddsm into {folder}, and its four case files into"
        " {folder}/csv",
    ),
}


def fetch(name: str, folder: Path) -> str:
    """Obtain an edition; returns what to do next.

    Raises FetchError, one line with the remedy, where it could not be had or kept checksums are not met.
    """
    edition = EDITIONS[name]
    by_hand = edition.by_hand.format(folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        edition.download(folder)
    except ImportError as error:
        raise FetchError(f"{error.name} is not installed: run pip install 'lesionlens[fetch]', or {by_hand}") from error
    except OSError as error:
        why = (str(error).splitlines() or [""])[0][:100]
        raise FetchError(f"no download ({type(error).__name__}: {why}): try again, or {by_hand}") from error
    count = keep_checksums(folder)
    try:
        recognise(folder)
    except ValueError:
        return f"{count} files are there. Still missing: the four case files; {by_hand}"
    return f"{count} files are there, their checksums in {folder / CHECKSUMS}. Next: lesionlens check {folder}"


def keep_checksums(folder: Path) -> int:
    """Write SHA-256 sums of all files, as `sha256sum -c` reads them; returns how many files there are.

    Files with a kept sum are compared. FetchError names the first that differs.
    """
    path = folder / CHECKSUMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and p != path and ".kagglehub" not in p.parts):
        if not file.resolve().is_relative_to(folder.resolve()):
            continue  # a link that leaves the folder is never opened
        name = file.relative_to(folder).as_posix()
        with file.open("rb") as stream:
            found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        if kept.get(name, found[name]) != found[name]:
            raise FetchError(f"{file} is not what was fetched before: delete it and fetch again")
    unfinished = path.with_suffix(".partial")
    unfinished.write_text("".join(f"{digest}  {name}\n" for name, digest in found.items()), encoding="utf-8")
    unfinished.replace(path)
    return len(found)


def agree(name: str, folder: Path, yes: bool) -> None:
    """Show what would be downloaded. FetchError unless a person, or `yes`, agrees."""
    edition = EDITIONS[name]
    print(f"{edition.title}\n  size     about {edition.gigabytes:g} GB\n  licence  {LICENCE}\n  into     {folder}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise FetchError("this needs a yes: run it in a terminal, or with --yes (make fetch YES=1)")
    if input("Download? [y/N] ").strip().lower() not in ("y", "yes"):
        raise FetchError("nothing was downloaded")
