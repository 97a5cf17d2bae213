"""The forms of the deployments: presets by default, bounds at the door."""

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema
from prefect.utilities.names import generate_slug

from flows import steps, study
from flows.names import named
from lesionlens.config import presets
from lesionlens.config.study import StudyConfig

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "prefect.yaml"
DATA = Path("/data")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[StudyConfig]:
    """The configurations that flows started with."""
    found: list[StudyConfig] = []
    monkeypatch.setattr(study, "_run", lambda config: found.append(config))
    return found


def test_a_later_study_starts_from_the_very_one_that_ran_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from another of its name; a start that is none of them is left to the record."""
    ran: list[StudyConfig] = []

    def run(config: StudyConfig) -> tuple[int, Path]:
        ran.append(config)
        return len(ran), Path(f"{len(ran)}.html")

    monkeypatch.setattr(study, "_study", run)
    monkeypatch.setattr(study, "study_identity", lambda number: f"digest {number}")

    def part(name: str, start: str | None) -> StudyConfig:
        base = presets.demo()
        training = base.training.model_copy(update={"start": start})
        return base.model_copy(update={"name": name, "training": training})

    pages = study.studies.fn((part("p: one", "old"), part("p: two", "p: one"), part("p: three", "p: two")))
    assert [config.training.start for config in ran] == ["old", "digest 1", "digest 2"]
    assert pages == [Path("1.html"), Path("2.html"), Path("3.html")]


def test_a_comparison_asks_for_studies_and_runs_and_needs_neither() -> None:
    schema = parameter_schema(steps.compare)
    assert set(schema.properties) == {"studies", "runs"} and not schema.required


def test_a_form_left_as_it_is_starts_its_preset(started: list[StudyConfig]) -> None:
    study.study_demo.fn()
    study.study_paper.fn(DATA)
    study.study_sound.fn(DATA)
    assert started == [presets.demo(), presets.paper(DATA), presets.sound(DATA)]


def test_what_a_form_says_arrives_in_the_configuration(started: list[StudyConfig]) -> None:
    changes: dict[str, Any] = {
        "name": "mine", "weights": "none", "backbones": ("resnet18",), "strategies": ("gradual",), "seeds": (1, 2),
        "methods": ("eigen_cam",),
    }  # fmt: skip
    study.study_sound.fn(DATA, **changes)
    (found,) = started
    assert (found.name, found.training.weights, found.evaluation.methods) == ("mine", "none", ("eigen_cam",))
    runs = [(run.backbone, run.strategy, run.seed) for run in found.grid.runs()]
    assert runs == [("resnet18", "gradual", 1), ("resnet18", "gradual", 2)]
    assert found.grid.sets == presets.sound(DATA).grid.sets


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"weights": "mine"}, "weights"),
        ({"seeds": []}, "seeds"),
        ({"name": ""}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({}, "data"),
    ],
)
def test_a_wrong_value_is_refused_by_field(wrong: dict[str, Any], field: str) -> None:
    data = {"data": "/data"} if wrong else {}
    with pytest.raises(ParameterTypeError, match=field):
        study.study_sound.validate_parameters(data | wrong)


def deployments() -> dict[str, dict[str, Any]]:
    return {found["name"]: found for found in yaml.safe_load(FILE.read_text())["deployments"]}


def flow_of(deployment: dict[str, Any]) -> Any:
    path, _, name = deployment["entrypoint"].partition(":")
    return getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)


def test_every_flow_has_a_deployment_whose_parameters_it_takes() -> None:
    found = deployments()
    studies = {"study", "study-demo", "study-paper", "study-sound", "study-nightly", "study-barnett"}
    assert set(found) == studies | {"prepare", "train", "evaluate", "evaluate-external", "report", "compare", "card"}
    for name, deployment in found.items():
        flow, given = flow_of(deployment), deployment.get("parameters", {})
        required = set(parameter_schema(flow).model_dump()["required"])
        if given:
            flow.validate_parameters(given)
        which = {"run", "data"} if name == "evaluate-external" else {"study_id", "study"}
        assert required - given.keys() <= which, (
            "a person fills in which study, or which run and data, and nothing else"
        )


def test_every_deployment_names_the_page_of_all_reports() -> None:
    assert [name for name, found in deployments().items() if "(/reports)" not in found["description"]] == []
    assert {tag for found in deployments().values() for tag in found["tags"]} == {"study", "step", "report"}


def test_a_typed_name_stays_and_an_invented_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__NAME", "my careful name")
    name = named("study demo")
    assert name() == "my careful name"
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__NAME", generate_slug(2))
    assert name() == "study demo"


def test_a_night_without_a_change_does_nothing(
    started: list[StudyConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, str] = {}
    monkeypatch.setattr(study.Variable, "get", kept.get)
    monkeypatch.setattr(study.Variable, "set", lambda name, value, overwrite: kept.update({name: value}))
    monkeypatch.setattr(study, "get_run_logger", logging.getLogger)
    (tmp_path / "manifest.csv").write_text("image,label\n")
    for _ in range(2):
        study.study_nightly.fn(tmp_path)
    assert len(started) == 1
    (tmp_path / "new.png").write_bytes(b"x")
    study.study_nightly.fn(tmp_path)
    assert [config.name for config in started] == ["nightly"] * 2
    with pytest.raises(ValueError, match="no folder"):
        study.study_nightly.fn(tmp_path / "absent")


def test_forms_are_short_and_every_field_is_described() -> None:
    for flow in (study.study_paper, study.study_sound):
        fields = parameter_schema(flow).model_dump()["properties"]
        assert len(fields) <= 10
        assert [name for name, field in fields.items() if not field.get("description")] == []


def test_the_nightly_study_is_off_until_somebody_switches_it_on() -> None:
    (schedule,) = deployments()["study-nightly"]["schedules"]
    assert schedule["active"] is False


def test_prefect_yaml_names_no_folder_of_this_machine() -> None:
    text = FILE.read_text()
    assert str(ROOT) not in text and str(Path.home()) not in text
