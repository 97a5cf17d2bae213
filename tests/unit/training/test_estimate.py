"""Time and bytes of a grid from rates."""

import pytest

from lesionlens.config.presets import demo, demo_cases, demo_detector
from lesionlens.config.training import GridConfig, HyperSet, StoppingConfig
from lesionlens.training.estimate import PASSES, Rates, estimate, measure, step_seconds

RATES = Rates(
    reach={"stem": 0.5, "unit2": 0.7},
    steps={"pooled": 0.0, "unit2": 1.0, "stem": 3.0},
    whole=2.0,
    parameter_bytes=7,
    feature_bytes={"stem": 11, "unit2": 4},
)


def test_time_is_the_sum_over_runs_phases_and_epochs() -> None:
    grid = GridConfig(backbones=("resnet18",), strategies=("gradual", "simultaneous"), sets=(HyperSet(),), seeds=(0,))
    study = demo().model_copy(update={"grid": grid})  # patience 3, at most 6 epochs
    found = estimate(study, {"resnet18": RATES}, train=10, validation=3, test=2)
    epochs_of_all_phases = (10 + 1) * (1.0 + 3.0) + (10 + 1) * 3.0
    fixed = 15 * 0.7 + 2 * (2 * 2.0 * PASSES)
    assert found.shortest == pytest.approx(4 * epochs_of_all_phases + fixed)
    assert found.longest == pytest.approx(6 * epochs_of_all_phases + fixed)
    assert (found.checkpoint_bytes, found.cache_bytes) == (2 * 7, 15 * (11 + 4))


def test_variants_are_computed_once_if_they_fit_and_else_in_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Averaged weights: as many epochs as allowed. Sixteen variants of 10 training samples, at one level."""
    grid = GridConfig(backbones=("resnet18",), strategies=("last_block",), sets=(HyperSet(),), seeds=(0,))
    training = demo().training.model_copy(
        update={"augment": "patch", "stopping": StoppingConfig(patience=3, max_epochs=8, keep="averaged")}
    )
    study = demo().model_copy(update={"grid": grid, "training": training})
    steps, fixed, samples = 8 * (10 + 1) * 1.0, 2 * 2.0 * PASSES, 17 * 10 + 3 + 2
    found = estimate(study, {"resnet18": RATES}, train=10, validation=3, test=2)
    assert found.shortest == found.longest == pytest.approx(samples * 0.7 + steps + fixed)
    assert found.cache_bytes == samples * 4
    monkeypatch.setattr("lesionlens.training.estimate.VARIANTS_BYTES", samples * 4 - 1)
    found = estimate(study, {"resnet18": RATES}, train=10, validation=3, test=2)
    assert found.shortest == pytest.approx(8 * 13 * 0.7 + steps + fixed) and found.cache_bytes == 0


def test_a_case_based_run_lasts_as_its_schedule_says() -> None:
    _, study = demo_cases()
    rates = {"vgg11_bn": Rates(reach={"stem": 1.0}, whole=3.0, steps={"pooled": 0.1, "unit2": 2.0, "stem": 4.0},
                               parameter_bytes=10, feature_bytes={"stem": 5})}  # fmt: skip
    found = estimate(study, rates, 90, 30, 10)  # type: ignore[arg-type]
    assert found.shortest == found.longest == 130 + 2 * 4 * 2.0 * (90 + 10) + 10 * 3.0 * PASSES


def test_a_detector_is_trained_whole_and_marks_every_film_once() -> None:
    rates = {"resnet18": Rates(reach={}, whole=3.0, steps={"stem": 4.0}, parameter_bytes=10, feature_bytes={})}
    found = estimate(demo_detector(), rates, 90, 30, 10)  # type: ignore[arg-type]
    assert found.shortest == found.longest == 3 * (90 * 4.0 + 2 * 30 * 3.0) + 40 * 3.0
    assert (found.checkpoint_bytes, found.cache_bytes) == (10, 0)


def test_measured_rates_are_of_this_network() -> None:
    found = measure("resnet18", 5, (32, 32), "cpu")
    assert found.parameter_bytes == pytest.approx(11.18e6 * 4, rel=0.01)
    assert found.feature_bytes == {"stem": 128 * 4 * 4 * 4, "unit2": 256 * 2 * 2 * 4}
    assert found.reach.keys() == {"stem", "unit2"} and found.steps.keys() == {"pooled", "unit2", "stem"}
    assert min(*found.reach.values(), found.whole, found.steps["unit2"], found.steps["stem"]) > 0


def test_a_step_is_measured_in_both_precisions() -> None:
    found = step_seconds("resnet18", 32)
    assert list(found) == ["float32", "bfloat16"] and all(0 < seconds < 60 for seconds in found.values())
