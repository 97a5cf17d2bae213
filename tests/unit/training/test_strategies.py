"""Learning rates by the protocol's rules, and which parameters they belong to."""

from collections.abc import Callable

import pytest

from lesionlens.config import RateRule, RunConfig
from lesionlens.models.backbones import BACKBONES, build
from lesionlens.training.strategies import HEAD, HEAD_1, HEAD_1_2, PHASES, Phase, parameter_groups, rule_of, set_modes

RUN = {"head_rate": 1e-4, "unit1_rate": 3e-5}


def rates(run: RunConfig, phase: Phase, rule: RateRule) -> dict[str, float]:
    model = build(run.backbone, 5, 0)
    return {group["name"]: group["lr"] for group in parameter_groups(model, phase, run, rule)}


def test_tenth_per_unit(make_run: Callable[..., RunConfig]) -> None:
    run = make_run("resnet18", **RUN)
    assert rates(run, HEAD_1_2, "tenth_per_block") == pytest.approx({"head": 1e-4, "unit1": 3e-5, "unit2": 3e-6})
    assert rates(run, HEAD_1, "tenth_per_block") == pytest.approx({"head": 1e-4, "unit1": 3e-5})
    assert rates(run, HEAD, "tenth_per_block") == {"head": 1e-4}


def test_harmonic_counts_convolutions_from_the_output(make_run: Callable[..., RunConfig]) -> None:
    found = rates(make_run("vgg16", **RUN), HEAD_1_2, "harmonic")
    units = ["unit1.conv3", "unit1.conv2", "unit1.conv1", "unit2.conv3", "unit2.conv2", "unit2.conv1"]
    assert found == pytest.approx({"head": 1e-4} | {name: 3e-5 / (i + 1) for i, name in enumerate(units)})


def test_author_rule_knows_the_head_rate_only(make_run: Callable[..., RunConfig]) -> None:
    found = rates(make_run("vgg11_bn", **RUN), HEAD_1_2, "author_vgg")
    units = ["unit1.conv2", "unit1.conv1", "unit2.conv2", "unit2.conv1"]
    assert found == pytest.approx({"head": 1e-4} | {name: 1e-4 / (2 * (i + 1)) for i, name in enumerate(units)})


def test_last_convolution_is_first(make_run: Callable[..., RunConfig]) -> None:
    run = make_run("resnet50", **RUN)
    model = build("resnet50", 5, 0)
    groups = parameter_groups(model, HEAD_1, run, "harmonic")
    assert groups[1]["params"][0] is model.unit1.get_submodule(model.last_conv).weight


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("rule", ["tenth_per_block", "harmonic", "author_vgg"])
def test_every_trained_parameter_has_one_rate(make_run: Callable[..., RunConfig], name: str, rule: RateRule) -> None:
    model, run = build(name, 5, 0), make_run(name)
    for phase in PHASES["gradual"]:
        set_modes(model, phase, "eval")
        grouped = [id(each) for group in parameter_groups(model, phase, run, rule) for each in group["params"]]
        assert sorted(grouped) == sorted(id(each) for each in model.parameters() if each.requires_grad)


def test_families_follow_their_rule(make_run: Callable[..., RunConfig], make_training: Callable[..., object]) -> None:
    training = make_training(vgg_rates="author_vgg", resnet_rates="harmonic")
    found = {name: rule_of(make_run(name), training) for name in ("vgg11_bn", "resnet50", "efficientnet_b0")}
    assert found == {"vgg11_bn": "author_vgg", "resnet50": "harmonic", "efficientnet_b0": "harmonic"}
