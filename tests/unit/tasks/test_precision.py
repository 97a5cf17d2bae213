"""The precision of a study: named, or measured once and remembered."""

from pathlib import Path

import pytest

from commands import study
from lesionlens.config.presets import demo_detector, sound
from lesionlens.config.study import StudyConfig, study_digest
from tasks import prepare


def wanted(precision: str, root: Path) -> StudyConfig:
    config = sound(root)
    return config.model_copy(update={"training": config.training.model_copy(update={"precision": precision})})


@pytest.mark.parametrize(("seconds", "expected"), [(0.8, "bfloat16"), (0.95, "float32"), (2.0, "float32")])
def test_auto_is_what_was_measured_first(
    seconds: float, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LESIONLENS_DEVICE", "cpu")
    measured: list[tuple[object, ...]] = []

    def step_seconds(*of: object) -> dict[str, float]:
        measured.append(of)
        return {"float32": 1.0, "bfloat16": seconds if len(measured) == 1 else 3 - seconds}

    monkeypatch.setattr(prepare, "step_seconds", step_seconds)
    assert [prepare.settled_precision(wanted("auto", tmp_path)) for _ in range(3)] == [expected] * 3
    assert measured == [("vgg16", 224)]
    for named in ("float32", "bfloat16"):
        assert prepare.settled_precision(wanted(named, tmp_path)) == named
    assert len(measured) == 1


def test_what_was_taken_is_known_without_asking_the_processor_unless_it_was_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LESIONLENS_DEVICE", "cpu")
    monkeypatch.setattr(prepare, "step_seconds", lambda *_: {"float32": 1.0, "bfloat16": 0.5})
    config = wanted("auto", tmp_path)
    assert study._taken(config) is None
    for machine, known in (("one", "bfloat16"), ("another", None)):
        monkeypatch.setattr(prepare.platform, "node", lambda machine=machine: machine)
        assert prepare.settled_precision(config) == "bfloat16"
        assert study._taken(config) == known
    smaller = config.model_copy(update={"patches": config.patches.model_copy(update={"size": 96})})
    assert prepare.settled_precision(smaller) == study._taken(smaller) == "bfloat16"


def test_a_detector_is_measured_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LESIONLENS_DEVICE", "cpu")
    shapes = []

    def step_seconds(run: object, training: object, shape: object) -> dict[str, float]:
        shapes.append(shape)
        return {"float32": 1.0, "bfloat16": 0.5}

    monkeypatch.setattr(prepare, "detector_seconds", step_seconds)
    config = demo_detector()
    asked = config.model_copy(update={"training": config.training.model_copy(update={"precision": "auto"})})
    assert prepare.settled_precision(asked) == "bfloat16" and shapes == [(320, 200)]


def test_precision_is_part_of_a_study(tmp_path: Path) -> None:
    assert study_digest(wanted("float32", tmp_path), 1) != study_digest(wanted("bfloat16", tmp_path), 1)
