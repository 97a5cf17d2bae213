"""`lesionlens check` and `--dry-run`: what a study would do, and what would stop it."""

from pathlib import Path

import pytest

from commands.__main__ import main
from commands.configuration import Wanted
from commands.data import settled
from flows import server
from tests.unit.files import Own

LIGHT = ("--set", "training.weights=none", "--set", "grid.backbones=resnet18", "--set", "patches.size=64")


@pytest.fixture(autouse=True)
def a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_process: None) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(server, "running_server", None)  # whoever starts one fails


@pytest.fixture
def films(own: Own) -> Path:
    for number in range(40):
        own.add("ab"[number % 2], f"p{number}")
    return own.finish()


def test_check_says_what_a_study_would_do(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(films), *LIGHT, "--pictures", str(tmp_path / "ten.png")]) == 0
    said = capsys.readouterr().out
    assert "40 images of 40 patients, 40 lesions" in said
    assert "3 runs (1 backbone x 1 strategy x 1 set x 3 seeds), patches of 64 pixels" in said
    assert "GB are free" in said and (tmp_path / "ten.png").stat().st_size > 1000


def test_check_overwrites_no_picture(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.png"
    own.write_text("mine")
    assert main(["check", str(films), *LIGHT, "--pictures", str(own)]) == 2
    assert "is there already" in capsys.readouterr().err and own.read_text() == "mine"


def test_check_refuses_what_a_study_would_refuse(
    films: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LESIONLENS_WEIGHTS", str(tmp_path))
    own = ("--set", "training.weights=/nowhere/resnet18.pth")
    assert main(["check", str(films), *LIGHT[2:], *own]) == 2
    assert "resnet18.pth is not there" in capsys.readouterr().err
    (films / "images").rename(films / "elsewhere")
    assert main(["check", str(films), *LIGHT]) == 2
    assert "image_missing" in capsys.readouterr().err


def test_a_study_that_would_stop_is_given_no_time(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(0, 40, 2):
        (films / f"images/{number}.png").unlink()
    assert main(["check", str(films), *LIGHT]) == 2
    said = capsys.readouterr()
    assert "class a has no sample" in said.err and "GB are free" not in said.out


def test_the_size_of_a_small_study_follows_from_the_lesions_unless_it_is_named(films: Path) -> None:
    assert settled(Wanted(preset="small", data=films))[0].patches.size in range(64, 225, 32)
    assert settled(Wanted(preset="small", data=films, set=("patches.size=72",)))[0].patches.size == 72
    assert settled(Wanted(data=films))[0].patches.size == 224


def test_a_dry_run_of_a_study_starts_nothing(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--data", str(films), *LIGHT, "--dry-run"]) == 0
    assert ": 3 runs (" in capsys.readouterr().out
    assert main(["demo", "--dry-run"]) == 0
    assert "draws its own data; 4 runs" in capsys.readouterr().out
