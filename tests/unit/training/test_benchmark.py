"""The training benchmark: both sides compute the same, and its sums are what they say."""

import math
from pathlib import Path

import pytest

from benchmarks.gpu.steps import PHASES, grid_minutes
from benchmarks.train import Measured, composed, measure
from benchmarks.train_ours import CPU, bench_of
from lesionlens.config.training import Precision

pytestmark = pytest.mark.usefixtures("thin")


def test_whole_runs_are_sums_of_what_was_measured() -> None:
    found = Measured()
    for side, factor in (("ours", 1.0), ("peer", 10.0)):
        for number, name in enumerate(("phase 1", "phase 2", "phase 3"), start=1):
            for key, seconds in ((name, number), (f"validation {name}", 0.5), (f"checkpoint {name}", 0.25)):
                found.add(side, key, factor * seconds)
    found.add("ours", "build", 2.0)
    found.add("ours", "open", 0.1)
    epochs = {"phase 1": 1, "phase 2": 2, "phase 3": 3, "S2": 4}
    ours = composed(found, "ours", 8, train=17, held_out=9, epochs=epochs)  # 3 steps, 2 validation batches
    one_s1 = 1 * (3 + 1.25) + 2 * (6 + 1.25) + 3 * (9 + 1.25) + 2.6
    one_s2 = 4 * (9 + 1.25) + 2.6
    assert ours["one S1"] == pytest.approx(52 + one_s1) and ours["S2"] == pytest.approx(52 + 6 * one_s2)
    assert ours["grid"] == pytest.approx(52 + 6 * one_s1 + 6 * one_s2)
    peer = composed(found, "peer", 8, train=17, held_out=9, epochs=epochs)
    assert peer["grid"] == pytest.approx(60 * (one_s1 + one_s2 - 5.2))


def test_the_grid_on_a_gpu_is_48_runs() -> None:
    keys = [(name, phase, batch) for name in "abcd" for phase in PHASES for batch in (8, 16, 32)]
    minutes = grid_minutes(dict.fromkeys(keys, 0.0), dict.fromkeys(keys, 1.0), dict.fromkeys("abcd", 15.0))
    assert minutes == pytest.approx((48 * 45 + 4 * 15) / 60)
    minutes = grid_minutes({("a", "phase 1", 16): 0.06}, {("a", "phase 1", 16): 0.0}, {})
    assert minutes == pytest.approx(2 * 15 * 0.001 * (135 + 8))
    assert math.ceil(2150 / 16) == 135 and math.ceil(380 / 16) == 24


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_both_sides_compute_the_same(tmp_path: Path) -> None:
    """Losses and predictions after the same steps from the same weights, in all three phases."""
    both: list[Precision] = ["float32", "bfloat16"]
    benches = [bench_of("resnet18", 64, 8, 24, 8, tmp_path / each, precision=each) for each in both]
    plain, reduced = measure(benches, 1, CPU, 0)
    assert max(plain.losses) < 1e-3 and min(plain.same) == 1.0
    assert max(reduced.losses) < 3e-2  # phase 2 and 3 round at other places: Lightning's frozen blocks, too
    for found in (plain, reduced):
        assert all(seconds > 0 for side in (found.ours, found.peer) for values in side.values() for seconds in values)
