"""Preset, file and single options, laid over each other."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from commands.__main__ import main
from commands.configuration import Preset, Wanted, option
from lesionlens.config.presets import PRESETS, SEVERAL, demo, sound
from lesionlens.config.study import StudyConfig


def write(path: Path, **options: Any) -> Path:
    path.write_text(json.dumps(options))
    return path


def test_a_file_that_names_one_option_leaves_the_preset_as_it_is(tmp_path: Path) -> None:
    own = write(tmp_path / "own.json", training={"weights": "none"})
    found = Wanted(config=own, data=tmp_path).study()
    preset = sound(tmp_path)
    assert found == preset.model_copy(update={"training": preset.training.model_copy(update={"weights": "none"})})
    assert (found.patches.jitter, found.background.size) == (1.0, "matched")


def test_later_layers_win(tmp_path: Path) -> None:
    own = write(tmp_path / "own.json", name="file", seed=3, data={"root": "/elsewhere"})
    found = Wanted(config=own, data=tmp_path, name="flag", set=("seed=4", "grid.seeds=1,2", "patches.size=96")).study()
    assert (found.name, found.data.root, found.seed) == ("flag", tmp_path, 4)
    assert (found.grid.seeds, found.patches.size) == ((1, 2), 96)


def test_what_config_prints_makes_the_same_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(get_args(Preset)) == {*PRESETS, *SEVERAL}
    for preset in PRESETS:
        assert main(["config", "--preset", preset]) == 0
        (tmp_path / "study.json").write_text(capsys.readouterr().out)
        folder = None if preset == "demo" else tmp_path
        found = Wanted(
            config=tmp_path / "study.json", data=folder, set=() if folder else ("data.source=phantom",)
        ).study()
        assert found == Wanted(preset=preset, data=folder).study()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "trainning.weights=none"], ["trainning.weights", "did you mean training.weights?"]),
        (["--set", "weights=none"], ["did you mean training.weights?"]),
        (["--set", "training.momentum=1"], ["no option training.momentum"]),
        (["--set", "training.weights"], ["OPTION=VALUE"]),
        (["--set", "seed=1", "--set", "seed=2"], ["seed is given twice, as 1 and as 2"]),
        (["--name", "a", "--set", "name=b"], ["name is given twice"]),
        (["--preset", "demo", "--data", "/films"], ["draws its own data"]),
        (["--set", "training.normalise=trian"], ["training.normalise is 'trian', did you mean train?"]),
        (["--set", "evaluation.confidence=1.5"], ["evaluation.confidence is 1.5", "less than 1"]),
        (["--set", "grid.backbones=resnet18,vgg"], ["grid.backbones.1 is 'vgg', did you mean vgg19?"]),
        (["--config", "/nowhere.json"], ["/nowhere.json is not there"]),
    ],
)
def test_a_mistake_is_told_in_one_line_of_plain_words(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in words) and "pydantic" not in line, line


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is not JSON"), ("[1]", "holds no options"), ('{"seed": 1, "seed": 2}', "names seed twice"),
     ('{"trainning": {"weights": "none"}}', "did you mean training?"),
     ('{"grid": {"sets": [{"batchsize": 8}]}}', "grid.sets.0.batchsize")],
)  # fmt: skip
def test_a_wrong_file_is_told_in_one_line(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.json").write_text(text)
    assert main(["config", "--config", str(tmp_path / "own.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line, line


def test_a_value_is_read_as_the_option_takes_it() -> None:
    assert option("training.weights=none") == ("training.weights", "none")
    assert option("grid.backbones=resnet18,resnet34") == ("grid.backbones", ["resnet18", "resnet34"])
    assert option("grid.seeds=7") == ("grid.seeds", [7])
    assert option('grid.sets=[{"batch_size": 8}]') == ("grid.sets", [{"batch_size": 8}])
    assert option("training.augment=flips") == ("training.augment", "flips")


def test_a_phantom_needs_no_folder(tmp_path: Path) -> None:
    own = write(tmp_path / "own.json", **demo().model_dump(mode="json"))
    assert Wanted(config=own).study() == demo() == StudyConfig.model_validate(demo().model_dump())


def test_options_are_laid_over_every_study_of_a_preset_and_a_name_keeps_their_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pair(root: Path) -> tuple[StudyConfig, ...]:
        first = sound(root).model_copy(update={"name": "pair: first"})
        training = first.training.model_copy(update={"start": "pair: first"})
        return first, first.model_copy(update={"name": "pair: second", "training": training})

    monkeypatch.setitem(SEVERAL, "pair", pair)
    wanted = Wanted(preset="pair", data=tmp_path, name="mine", set=("grid.backbones=resnet18",))  # type: ignore[arg-type]
    first, second = wanted.studies()
    assert (first.name, second.name, second.training.start) == ("mine: first", "mine: second", "mine: first")
    assert first.grid == second.grid and first.grid.backbones == ("resnet18",)
    assert Wanted(preset="pair", data=tmp_path).studies() == pair(tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="preset pair is 2 studies"):
        wanted.study()
