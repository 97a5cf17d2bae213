"""Getting the data: fakes at the libraries' boundary, and the real failure of a machine without a network."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

from commands.__main__ import main
from lesionlens.datasets import download as fetch
from lesionlens.datasets.download import CHECKSUMS, FetchError, keep_checksums


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A kagglehub that unpacks a tiny archive into its cache; returns the handles asked for."""
    asked: list[str] = []

    def download(handle: str) -> str:
        asked.append(handle)
        place = Path(os.environ["KAGGLEHUB_CACHE"]) / "datasets/versions/1"
        (place / "csv").mkdir(parents=True)
        (place / "jpeg/1.2.3").mkdir(parents=True)
        Image.new("L", (4, 4)).save(place / "jpeg/1.2.3/1-1.jpg")
        (place / "csv/dicom_info.csv").write_text("image_path\n")
        return str(place)

    monkeypatch.setenv("KAGGLEHUB_CACHE", "")
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=download))
    return asked


def test_size_and_licence_come_first_and_a_no_downloads_nothing(
    kaggle: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert main(["fetch", "kaggle", str(tmp_path / "data")]) == 2
    shown = capsys.readouterr()
    assert kaggle == [] and not (tmp_path / "data").exists()
    assert "6 GB" in shown.out and "CC BY 3.0" in shown.out and "nothing was downloaded" in shown.err


def test_without_a_terminal_it_asks_for_yes(
    kaggle: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", "kaggle", str(tmp_path / "data")]) == 2
    assert "--yes" in capsys.readouterr().err and kaggle == []


def test_kaggle_goes_where_the_reader_looks_and_keeps_checksums(
    kaggle: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    assert main(["fetch", "kaggle", str(folder), "--yes"]) == 0
    assert f"lesionlens check {folder}" in capsys.readouterr().out
    assert sorted(p.name for p in folder.iterdir()) == [CHECKSUMS, "csv", "jpeg"]
    done = subprocess.run(["sha256sum", "--check", CHECKSUMS], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == 2
    assert (
        main(["fetch", "kaggle", str(folder), "--yes"]) == 0 and len(kaggle) == 1
    )  # the second time downloads nothing
    (folder / "link.jpg").symlink_to("/etc/hosts")
    assert keep_checksums(folder) == 2
    (folder / "jpeg/1.2.3/1-1.jpg").write_bytes(b"rotten")
    assert main(["fetch", "kaggle", str(folder), "--yes"]) == 2
    assert "1-1.jpg is not what was fetched before: delete it" in capsys.readouterr().err


def test_a_kill_between_the_two_moves_is_gone_on_from(
    kaggle: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name == "jpeg":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    assert main(["fetch", "kaggle", str(tmp_path), "--yes"]) == 130
    monkeypatch.setattr(Path, "rename", rename)
    there = next((tmp_path / ".kagglehub").rglob("jpeg")).parent  # the archive counts as unpacked, csv is moved away
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=lambda _: str(there)))
    assert main(["fetch", "kaggle", str(tmp_path), "--yes"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [CHECKSUMS, "csv", "jpeg"]


class Client:
    """An idc-index client: fetches every series but those in `lost`, next time these too."""

    lost = ("1.2.4",)
    index = {"collection_id": ["cbis_ddsm"] * 2 + ["other"], "SeriesInstanceUID": ["1.2.3", "1.2.4", "9"]}  # noqa: RUF012

    def download_collection(self, collection_id: str, downloadDir: str, use_s5cmd_sync: bool) -> None:
        assert collection_id == "cbis_ddsm" and use_s5cmd_sync
        for series in self.index["SeriesInstanceUID"][:2]:
            if series not in Client.lost:
                place = Path(downloadDir) / f"cbis_ddsm/P/study/MG_{series}"
                place.mkdir(parents=True, exist_ok=True)
                (place / "1.dcm").write_bytes(b"x")
        Client.lost = ()


def test_idc_says_how_much_is_missing_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "idc_index", types.SimpleNamespace(IDCClient=Client))
    monkeypatch.setattr(fetch.socket, "create_connection", lambda *_, **__: open(os.devnull))  # noqa: PTH123, SIM115
    assert main(["fetch", "idc", str(tmp_path / "data"), "--yes"]) == 2
    assert "1 of 2 series did not come: run the same command again" in capsys.readouterr().err
    assert main(["fetch", "idc", str(tmp_path / "data"), "--yes"]) == 0
    assert "four case files" in capsys.readouterr().out
    assert keep_checksums(tmp_path / "data") == 2


@pytest.mark.parametrize("edition", ["kaggle", "idc"])
def test_without_a_network_one_line_says_what_to_put_where(
    edition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The libraries themselves, where names can't be resolved: the connection fails as on any such machine."""

    def unresolved(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    if edition == "kaggle":
        pytest.importorskip("kagglehub")
    monkeypatch.setattr(fetch.socket, "getaddrinfo", unresolved)
    monkeypatch.setenv("KAGGLEHUB_CACHE", "")
    folder = tmp_path / "data"
    assert main(["fetch", edition, str(folder), "--yes"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no download" in said and f"{folder}/csv" in said and "https://" in said


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(FetchError, match=r"lesionlens\[fetch\]"):
        fetch.fetch("kaggle", tmp_path)
