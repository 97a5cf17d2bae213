"""Time and bytes of a grid from rates."""

import pytest

from lesionlens.config.presets import demo, demo_cases
from lesionlens.config.training import GridConfig, HyperSet
from lesionlens.training.estimate import PASSES, Rates, estimate, measure

RATES = Rates(
    stem=0.5, steps={"pooled": 0.0, "unit2": 1.0, "stem": 3.0}, whole=2.0, parameter_bytes=7, feature_bytes=11
)


def test_time_is_the_sum_over_runs_phases_and_epochs() -> None:
    grid = GridConfig(backbones=("resnet18",), strategies=("gradual", "simultaneous"), sets=(HyperSet(),), seeds=(0,))
    study = demo().model_copy(update={"grid": grid})  # patience 3, at most 8 epochs
    found = estimate(study, {"resnet18": RATES}, train=10, validation=3, test=2)
    epochs_of_all_phases = (10 + 1) * (1.0 + 3.0) + (10 + 1) * 3.0
    fixed = 15 * 0.5 + 2 * (2 * 2.0 * PASSES)
    assert found.shortest == pytest.approx(4 * epochs_of_all_phases + fixed)
    assert found.longest == pytest.approx(8 * epochs_of_all_phases + fixed)
    assert (found.checkpoint_bytes, found.cache_bytes) == (2 * 7, 15 * 11)


def test_a_case_based_run_lasts_as_its_schedule_says() -> None:
    _, study = demo_cases()
    rates = {"vgg11_bn": Rates(stem=1.0, whole=3.0, steps={"pooled": 0.1, "unit2": 2.0, "stem": 4.0},
                               parameter_bytes=10, feature_bytes=5)}  # fmt: skip
    found = estimate(study, rates, 90, 30, 10)  # type: ignore[arg-type]
    assert found.shortest == found.longest == 130 + 2 * 4 * 2.0 * (90 + 10) + 10 * 3.0 * PASSES


def test_measured_rates_are_of_this_network() -> None:
    found = measure("resnet18", 5, (32, 32), "cpu")
    assert found.parameter_bytes == pytest.approx(11.18e6 * 4, rel=0.01)
    assert found.feature_bytes == 128 * 4 * 4 * 4
    assert 0 < found.stem < found.whole
    assert 0 < found.steps["unit2"] < found.steps["stem"]
