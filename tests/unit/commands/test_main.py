"""The command line, as far as it answers before a server is started."""

import io
import json
import sys
from pathlib import Path

import pytest

from commands import __main__ as command
from commands import study
from commands.configuration import Wanted
from flows import server
from lesionlens.config.presets import demo


@pytest.mark.parametrize("arguments", [["demo"], ["compare", "1"], ["card", "1"]])
def test_a_record_out_of_reach_is_told_in_one_line_before_anything_starts(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", "postgresql://ann:s3cret@127.0.0.1:1/record")
    monkeypatch.setattr(server, "running_server", None)  # whoever starts one fails
    assert command.main(arguments) == 2
    *before, said = capsys.readouterr().err.splitlines()
    assert said.startswith("lesionlens: the record cannot be reached or used: ")
    assert "127.0.0.1" in said and len(before) <= 2 and "s3cret" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study"], "data.root is missing: name the folder"),
        (["study", "--data", "/nowhere"], "/nowhere"),
        (["study", "--config", "/nowhere.json"], "/nowhere.json"),
        (["compare"], "name at least one study, or runs"),
        (["connect", "--open", "--port", "99999"], "no port 99999"),
        (["connect", "--port", "5544"], "connect --open --port"),
        (["examine", "/films", "--predictions", "/nowhere.csv", "--maps", "/"], "/nowhere.csv is no file"),
        (["examine", "/films", "--predictions", __file__, "--maps", "/", "--to", "/usr"], "is there already"),
    ],
)
def test_a_wrong_argument_is_one_line_and_status_2(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "running_server", None)
    assert command.main(arguments) == 2
    text = capsys.readouterr().err
    assert text.startswith("lesionlens: ") and words in text and text.count("\n") == 1


def test_a_backup_overwrites_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.dump"
    own.write_text("mine")
    assert command.main(["backup", str(own)]) == 2
    assert "is there already" in capsys.readouterr().err and own.read_text() == "mine"


@pytest.mark.parametrize(
    ("variables", "arguments", "words"),
    [
        ({"LESIONLENS_HOME": __file__}, ["demo"], f"{__file__} cannot be the folder of all state: File exists"),
        ({"LESIONLENS_HOME": "/proc/x"}, ["demo"], "/proc/x cannot be the folder of all state"),
        ({"LESIONLENS_HOME": "/proc/x"}, ["serve"], "LESIONLENS_HOME"),
        ({}, ["study", "--config", "/"], "Is a directory"),
        ({"LESIONLENS_HOME": "~nobody-of-this-name/x"}, ["stop"], "LESIONLENS_HOME"),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line(
    variables: dict[str, str],
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("LESIONLENS_DATABASE_URL", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert command.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("lesionlens: ") and words in said and said.count("\n") == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_configuration_is_utf8_whatever_the_locale_says(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the mark that Windows' editors write, too."""
    found: list[Wanted] = []
    monkeypatch.setattr(study, "_study", lambda config, _: found.append(config))
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "latin-1")
    (tmp_path / "own.json").write_text('{"name": "日本 ü", "data": {"source": "phantom"}}', encoding)
    assert command.main(["study", "--config", str(tmp_path / "own.json")]) == 0
    assert found[0].study().name == "日本 ü"


def test_a_terminal_that_lacks_a_letter_ends_no_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONIOENCODING=ascii, or a locale of one byte a letter."""
    screen = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(study, "_study", lambda config, _: print(f"Report: /reports/{config.preset}-日本.html"))
    assert command.main(["demo"]) == 0
    screen.flush()
    assert b"demo-\\u65e5" in screen.buffer.getvalue()


def test_an_option_of_another_version_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "running_server", None)
    config = demo().model_dump(mode="json")
    config["training"]["momentum"] = 0.9
    (tmp_path / "old.json").write_text(json.dumps(config))
    assert command.main(["study", "--config", str(tmp_path / "old.json")]) == 2
    assert "training.momentum" in capsys.readouterr().err


def test_an_interrupt_ends_with_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.serve.serve", interrupted)
    assert command.main(["serve"]) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
