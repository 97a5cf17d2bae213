"""Learning rates and the parameters they belong to; what a phase trains and freezes; early stopping."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lesionlens.config.training import RateRule, RunConfig, StoppingConfig, Strategy
from lesionlens.models.backbones import BACKBONES, build
from lesionlens.training.strategies import (
    HEAD,
    HEAD_1,
    HEAD_1_2,
    PHASES,
    Phase,
    Stopper,
    cosine,
    parameter_groups,
    set_modes,
)

RUN = {"head_rate": 1e-4, "unit1_rate": 3e-5}


def rates(run: RunConfig, phase: Phase, rule: RateRule) -> dict[str, float]:
    model = build(run.backbone, 5, 0)
    return {group["name"]: group["lr"] for group in parameter_groups(model, phase, run, rule)}


@pytest.mark.parametrize("rule", ["published", "author"])
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_a_tenth_per_block(make_run: Callable[..., RunConfig], name: str, rule: RateRule) -> None:
    run = make_run(name, **RUN)
    assert rates(run, HEAD_1_2, rule) == pytest.approx({"head": 1e-4, "unit1": 3e-5, "unit2": 3e-6})
    assert rates(run, HEAD_1, rule) == pytest.approx({"head": 1e-4, "unit1": 3e-5})
    assert rates(run, HEAD, rule) == {"head": 1e-4}


def test_vgg_counts_convolutions_from_the_output(make_run: Callable[..., RunConfig]) -> None:
    found = rates(make_run("vgg16", **RUN), HEAD_1_2, "published")
    units = ["unit1.conv3", "unit1.conv2", "unit1.conv1", "unit2.conv3", "unit2.conv2", "unit2.conv1"]
    assert found == pytest.approx({"head": 1e-4} | {name: 3e-5 / (i + 1) for i, name in enumerate(units)})


def test_the_authors_rule_for_vgg_uses_the_head_rate_only(make_run: Callable[..., RunConfig]) -> None:
    found = rates(make_run("vgg11_bn", **RUN), HEAD_1_2, "author")
    units = ["unit1.conv2", "unit1.conv1", "unit2.conv2", "unit2.conv1"]
    assert found == pytest.approx({"head": 1e-4} | {name: 1e-4 / (2 * (i + 1)) for i, name in enumerate(units)})


def test_last_convolution_is_first(make_run: Callable[..., RunConfig]) -> None:
    model = build("vgg16", 5, 0)
    groups = parameter_groups(model, HEAD_1, make_run("vgg16", **RUN), "published")
    assert groups[1]["params"][0] is model.unit1.get_submodule(model.last_conv).weight


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("strategy", ["gradual", "simultaneous"])
def test_a_phase_trains_its_blocks_and_freezes_the_others(
    make_run: Callable[..., RunConfig], name: str, strategy: Strategy
) -> None:
    """Gradients, modes and one rate for every trained parameter; after a validation pass, too."""
    model, run = build(name, 5, 0), make_run(name)
    for phase in PHASES[strategy]:
        model.eval()
        set_modes(model, phase)
        for block_name, block in model.blocks.items():
            trained = block_name in phase.blocks
            assert all(parameter.requires_grad is trained for parameter in block.parameters())
            assert all(module.training is trained for module in block.modules())
            assert any(isinstance(module, nn.Conv2d | nn.Linear) for module in block.modules())
        grouped = [id(each) for group in parameter_groups(model, phase, run, "published") for each in group["params"]]
        assert sorted(grouped) == sorted(id(each) for each in model.parameters() if each.requires_grad)
    assert {name for phase in PHASES[strategy] for name in phase.blocks} == {"unit2", "unit1", "head"}


def test_a_phase_must_improve_on_the_weights_it_starts_from() -> None:
    """Losses of the first phase fall to 0.5; later phases stay above, and keep its epoch where they start from it."""
    for start, kept in (("anew", 0.8), ("loaded", 0.5)):
        config = StoppingConfig(patience=2, start=start)
        stopper = Stopper().after(0.7, config).after(0.5, config).following(config)
        assert (stopper.epochs, stopper.waited) == (0, 0) and not stopper.done(config)
        first = stopper.after(0.8, config)
        assert first.improved_on(stopper) is first.counted is (start == "anew")
        assert first.after(0.9, config).lowest == kept


def play(losses: list[float], patience: int = 3, min_delta: float = 0.01, max_epochs: int = 100) -> tuple[int, int]:
    """(epoch after which the phase ends, epoch of its best checkpoint), both from 1; 0 if it does not end."""
    config = StoppingConfig(patience=patience, min_delta=min_delta, max_epochs=max_epochs)
    stopper, best = Stopper(), 0
    for epoch, loss in enumerate(losses, start=1):
        after = stopper.after(loss, config)
        best = epoch if after.improved_on(stopper) else best
        stopper = after
        if stopper.done(config):
            return epoch, best
    return 0, best


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1.0, 2.0, 2.0, 2.0, 0.1], (4, 1)),  # the first epoch is the best
        ([1.0, 0.9, 0.8, 0.7, 0.6], (0, 5)),  # still improving
        ([1.0, 0.995, 0.992, 0.991], (4, 4)),  # below the least improvement: waits, but the lowest is kept
        ([1.0, 0.995, 0.992, 0.985, 2.0, 2.0, 2.0], (7, 4)),  # slow progress adds up to one improvement
        ([1.0, 2.0, 2.0, 0.5, 2.0, 2.0, 2.0], (7, 4)),  # waiting starts anew
        ([1.0, 1.0, 1.0, 1.0], (4, 1)),  # a tie keeps the earlier epoch
    ],
)
def test_scripted_losses(losses: list[float], expected: tuple[int, int]) -> None:
    assert play(losses) == expected


def test_what_counts_is_not_what_is_lowest() -> None:
    config, stopper = StoppingConfig(patience=3), Stopper()
    seen = []
    for loss in (1.0, 0.995, 0.98, 1.2):
        after = stopper.after(loss, config)
        seen.append((after.counted, after.improved_on(stopper)))
        stopper = after
    assert seen == [(True, True), (False, True), (True, True), (False, False)]
    assert not Stopper().counted


def test_improvement_of_exactly_the_least_counts() -> None:
    assert play([1.0, 0.75, 0.75, 0.75, 0.75], patience=3, min_delta=0.25) == (5, 2)


def test_without_a_least_improvement_a_tie_still_waits() -> None:
    assert play([1.0, 1.0, 1.0, 1.0], min_delta=0.0) == (4, 1)


def test_longest_phase() -> None:
    assert play([1.0, 0.5, 0.2, 0.1], max_epochs=3) == (3, 3)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_no_loss_that_cannot_be_compared(loss: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Stopper().after(loss, StoppingConfig())


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.integers(1, 8), st.floats(0, 1))
def test_best_is_the_lowest_and_the_end_is_due(losses: list[float], patience: int, min_delta: float) -> None:
    end, best = play(losses, patience, min_delta)
    seen = losses[:end] if end else losses
    assert best == seen.index(min(seen)) + 1
    if end:
        assert min(losses[end - patience : end]) >= min(losses[: end - patience]) - min_delta - 1e-9


@pytest.mark.parametrize(("epochs", "warm"), [(1, 0), (2, 1), (12, 1), (30, 3), (100, 10)])
def test_a_cosine_rises_over_a_tenth_of_the_epochs_and_falls_to_the_end(epochs: int, warm: int) -> None:
    factors = [cosine(epoch, epochs) for epoch in range(1, epochs + 1)]
    rising, falling = factors[: warm + 1], factors[warm:]
    assert falling[0] == 1 and rising == sorted(set(rising)) and falling == sorted(set(falling), reverse=True)
    assert all(factor > 0 for factor in factors) and rising[0] == pytest.approx(1 / (warm + 1))
    half = (epochs - warm) // 2
    if (epochs - warm) % 2 == 0:
        assert falling[half] == pytest.approx(0.5)
