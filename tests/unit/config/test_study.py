"""Configuration: frozen, strict, and its grid."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lesionlens.config.data import DataConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.presets import PRESETS, SEVERAL, demo, demo_cases, paper, preset, sound
from lesionlens.config.study import StudyConfig, sample_set_digest
from lesionlens.config.training import GridConfig, HyperSet
from lesionlens.identity import digest


def test_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="batchsize"):
        HyperSet.model_validate({"batchsize": 8})


def test_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        demo().seed = 1  # type: ignore[misc]


def test_a_data_set_needs_its_folder() -> None:
    with pytest.raises(ValidationError, match="name the folder of the data set"):
        DataConfig(source="cbis_kaggle")


def test_the_papers_grid_is_four_by_two_by_six() -> None:
    runs = paper(Path("data")).grid.runs()
    assert len(runs) == len(set(runs)) == 4 * 2 * 6
    assert {(r.batch_size, r.unit1_rate) for r in runs} == {(b, u) for b in (8, 16, 32) for u in (3e-5, 3e-4)}
    assert {r.head_rate for r in runs} == {1e-4}


def test_a_run_given_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="the same run appears twice"):
        GridConfig(backbones=("resnet18", "resnet18"))


def test_a_method_given_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="names a method twice"):
        EvaluationConfig(methods=("grad_cam", "eigen_cam", "grad_cam"))


def test_flips_are_of_classifiers_and_the_preset_after_shen_asks_for_them() -> None:
    flips, grid = EvaluationConfig(flips=True, methods=("prototypes",)), GridConfig(system="prototype")
    with pytest.raises(ValidationError, match=r"flips is for grid\.system classifier"):
        StudyConfig(data=DataConfig(root=Path("data")), grid=grid, evaluation=flips)
    asked = {name: [each.evaluation.flips for each in SEVERAL[name](Path("data"))] for name in ("shen", "petrini")}
    assert asked == {"shen": [False, True, True], "petrini": [False, False, False]}


def test_the_form_says_of_every_option_what_it_is() -> None:
    schema = StudyConfig.model_json_schema()
    parts = {"StudyConfig": schema, **schema["$defs"]}
    silent = [
        f"{part}.{option}"
        for part, described in parts.items()
        for option, shown in described["properties"].items()
        if not shown.get("description") and "$ref" not in shown  # a part of its own has its description there
    ]
    assert silent == [] and all(part["description"] for part in parts.values())


def test_every_preset_survives_json() -> None:
    for name in (*PRESETS, *SEVERAL):
        for config in preset(name, Path("data")):
            assert StudyConfig.model_validate_json(config.model_dump_json()) == config


def test_cases_start_from_a_black_box_of_the_same_samples() -> None:
    for first, second in (preset("barnett", Path("data")), demo_cases()):
        assert second.training.start == first.name and second.grid.system == "prototype"
        assert first.grid.backbones == second.grid.backbones and first.grid.system == "classifier"
        assert sample_set_digest(first, "i") == sample_set_digest(second, "i")
        assert second.evaluation.methods == ("prototypes", "grad_cam") and first.data.classes == "margins"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"evaluation": {"methods": ("prototypes",)}}, "grid.system prototype alone has"),
        ({"grid": {"system": "prototype", "guidance": ({"weight": 1},)}}, "prototypes have training.prototypes.fine"),
        ({"grid": {"system": "prototype"}, "training": {"stopping": {"keep": "averaged"}}}, "keep averaged is for"),
        ({"grid": {"system": "prototype", "strategies": ["last_block"]}}, "last_block is for"),
        ({"grid": {"system": "prototype"}, "training": {"dropout": 0.1}}, "training.dropout is for"),
        ({"grid": {"system": "prototype"}, "training": {"schedule": "cosine"}}, "training.schedule is for"),
        ({"training": {"prototypes": {"prune": (3, 4)}}}, "training.prototypes.prune"),
    ],
)
def test_what_prototypes_cannot_do_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StudyConfig.model_validate({"data": {"source": "phantom"}} | options)


def test_presets_take_the_protocols_side() -> None:
    study, ours = paper(Path("data")), sound(Path("data"))
    assert (study.patches.context, study.patches.per, study.patches.jitter) == (3.0, "image", 0.0)
    assert (study.training.normalise, study.evaluation.scaling, study.evaluation.layer) == (
        "per_class",
        "minmax",
        "conv",
    )
    assert (ours.training.normalise, ours.split.group, ours.evaluation.policy) == ("train", "patient", "validation")
    recipe = ours.training.augment, ours.training.stopping.keep, ours.grid.strategies
    assert recipe == ("patch", "averaged", ("last_block",))
    assert (study.training.augment, study.training.stopping.keep) == ("none", "lowest")
    off = study.training.model_dump(include={"weight_decay", "dropout", "label_smoothing", "schedule"})
    assert off == {"weight_decay": 0, "dropout": 0, "label_smoothing": 0, "schedule": "constant"}
    assert ours.evaluation.flips and not study.evaluation.flips
    assert demo().training.weights == "none"


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="demo, detector, paper, small, sound"):
        preset("fast")


def test_a_preset_without_data_says_how_to_name_it() -> None:
    with pytest.raises(ValueError, match="lesionlens study --data"):
        preset("sound")


@pytest.mark.parametrize("name", ["two\nlines", "a\0b", "\x1b[2J", ""])
def test_a_study_name_is_one_line(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        StudyConfig(name=name, data=DataConfig(source="phantom"))


def test_a_tilde_in_a_path_is_the_users_home() -> None:
    assert DataConfig(root=Path("~/films")).root == Path.home() / "films"
    with pytest.raises(ValidationError, match="write the path out"):
        DataConfig(root=Path("~nobody_of_this_name/films"))


def test_guidance_is_part_of_a_run_and_its_name() -> None:
    guided = {"weight": 3, "fraction": 0.1}
    grid = {"backbones": ["vgg16"], "strategies": ["gradual"], "guidance": [{}, guided], "seeds": [0, 1]}
    config = StudyConfig.model_validate({"data": {"source": "phantom"}, "grid": grid})
    runs = config.grid.runs()
    assert [(r.seed, r.guidance.weight) for r in runs[:4]] == [(0, 0), (0, 3), (1, 0), (1, 3)]
    assert len({digest(run) for run in runs}) == len(runs) == 24
    assert config.grid.title(runs[1]) == "vgg16 gradual #1 guidance weight 3, fraction 0.1 seed 0"
    twice = {**grid, "guidance": [{"weight": 3}, {"weight": 3}]}
    with pytest.raises(ValidationError, match="guidance or seed"):
        StudyConfig.model_validate({"data": {"source": "phantom"}, "grid": twice})
