"""Seconds of steps, validation and checkpoints of both sides, interleaved, and whole runs composed of them."""

import copy
import math
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.allocation import of_a_script
from benchmarks.train_ours import Bench, agreement, build_cache, checkpoint_seconds, train_phase
from benchmarks.train_peer import Files, fit_phase, in_memory
from lesionlens.config.training import StoppingConfig
from lesionlens.models.classifier import Classifier
from lesionlens.training.strategies import HEAD, HEAD_1, HEAD_1_2

PHASES = {"phase 1": HEAD, "phase 2": HEAD_1, "phase 3": HEAD_1_2}
GOALS = {
    "resnet50": {"phase 1": 1000, "phase 2": 2.8, "phase 3": 1.55, "S1": 2.5, "S2": 1.6, "grid": 1.9},
    "vgg19": {"phase 1": 1000, "phase 2": 5.5, "phase 3": 1.65, "S1": 3.4, "S2": 1.75, "grid": 2.25},
}
"""Ratios of float32."""


@dataclass
class Measured:
    """Seconds, one number per round."""

    ours: dict[str, list[float]] = field(default_factory=dict)
    peer: dict[str, list[float]] = field(default_factory=dict)
    png: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    same: list[float] = field(default_factory=list)

    def add(self, side: str, name: str, seconds: float) -> None:
        self.of(side).setdefault(name, []).append(seconds)

    def middle(self, side: str, name: str) -> float:
        return statistics.median(self.of(side)[name])

    def of(self, side: str) -> dict[str, list[float]]:
        return self.ours if side == "ours" else self.peer


def measure(benches: Sequence[Bench], rounds: int, clock: Callable[[], float], workers: int) -> list[Measured]:
    """All phases of each bench, `rounds` times, in turns. A phase takes as many steps as the training split has
    batches; the first of them warms up and is not counted.
    """
    found = [Measured() for _ in benches]
    given = [(in_memory(bench.inputs), Files(bench.folder / "png", bench.inputs)) for bench in benches]
    for number in range(rounds):
        for bench, own, (memory, files) in zip(benches, found, given, strict=True):
            _round(bench, own, number, memory, clock)
            own.png.append(_png_step(bench, files, clock, workers))
    return found


def _round(
    bench: Bench, found: Measured, number: int, memory: Dataset[tuple[Tensor, ...]], clock: Callable[[], float]
) -> None:
    built, opened = build_cache(bench, clock)
    found.add("ours", "build", built / len(bench.inputs))
    found.add("ours", "open", opened / len(bench.inputs))
    batches = math.ceil(len(bench.rows[1]) / bench.run.batch_size)
    for name, phase in PHASES.items():
        networks = []
        for side in ("ours", "peer") if number % 2 else ("peer", "ours"):
            if side == "ours":
                # Steps from pooled features take a millisecond: more of them, so that the clock can tell.
                epochs = 100 if phase is HEAD else 1
                trained = train_phase(bench, phase, clock, epochs)
                found.add("ours", name, statistics.median(trained.steps[1:]))
                found.add("ours", f"validation {name}", trained.validation / batches)
                found.add("ours", f"checkpoint {name}", checkpoint_seconds(bench, phase, clock))
                again = train_phase(bench, phase, clock) if epochs > 1 else trained
                networks.append((again.network, again.loss))
            else:
                networks.append(_peer_phase(bench, found, name, memory, clock, batches))
        found.losses.append(abs(networks[0][1] - networks[1][1]) / networks[0][1])
        found.same.append(agreement([each for each, _ in networks], bench.inputs, bench.rows[1]))


@of_a_script()
def _peer_phase(
    bench: Bench,
    found: Measured,
    name: str,
    data: Dataset[tuple[Tensor, ...]],
    clock: Callable[[], float],
    batches: int,
) -> tuple[Classifier, float]:
    network, once = copy.deepcopy(bench.first), StoppingConfig(max_epochs=1)
    place = bench.folder / "peer"
    marks, trainer, _ = fit_phase(
        network, PHASES[name], bench.run, bench.training, once, data, bench.rows, place, bench.device, clock=clock
    )  # fmt: skip
    steps = [b - a for a, b in zip(marks.steps, marks.steps[1:], strict=False)]
    found.add("peer", name, statistics.median(steps[1:]))
    found.add("peer", f"validation {name}", marks.validations[0] / batches)
    started = clock()
    trainer.save_checkpoint(place / "timed.ckpt")
    found.add("peer", f"checkpoint {name}", clock() - started)
    shutil.rmtree(place)
    return network.cpu(), marks.losses[0]


@of_a_script()
def _png_step(bench: Bench, files: Files, clock: Callable[[], float], workers: int) -> float:
    """Phase 3 of the peer with PNG files through a DataLoader."""
    once, place = StoppingConfig(max_epochs=1), bench.folder / "peer"
    marks, *_ = fit_phase(
        copy.deepcopy(bench.first), HEAD_1_2, bench.run, bench.training, once, files, bench.rows, place, bench.device,
        workers, clock,
    )  # fmt: skip
    shutil.rmtree(place)
    return statistics.median(b - a for a, b in zip(marks.steps[1:], marks.steps[2:], strict=False))


def composed(
    found: Measured, side: str, batch: int, train: int, held_out: int, epochs: dict[str, int]
) -> dict[str, float]:
    """Seconds of six strategy-1 runs, six strategy-2 runs and the twelve together, and of one run of each.

    The cache is charged whole to each of them; the twelve share it.
    """
    steps, checks = math.ceil(train / batch), math.ceil(held_out / batch)

    def epoch(name: str) -> float:
        parts = (steps, name), (checks, f"validation {name}"), (1, f"checkpoint {name}")
        return sum(count * found.middle(side, each) for count, each in parts)

    one = {"S1": sum(epochs[name] * epoch(name) for name in PHASES), "S2": epochs["S2"] * epoch("phase 3")}
    cache = opening = 0.0
    if side == "ours":
        cache = found.middle("ours", "build") * (train + held_out)
        opening = found.middle("ours", "open") * (train + held_out)
    runs = {name: seconds + opening for name, seconds in one.items()}
    return {
        "one S1": cache + runs["S1"],
        "one S2": cache + runs["S2"],
        "S1": cache + 6 * runs["S1"],
        "S2": cache + 6 * runs["S2"],
        "grid": cache + 6 * runs["S1"] + 6 * runs["S2"],
    }


def show_steps(bench: Bench, found: Measured) -> None:
    """What was measured, in Markdown."""
    goals = goals_of(bench)
    size, precision = bench.patches.pixels.shape[1], bench.training.precision
    print(f"\n#### {bench.run.backbone}, {size} px, batch {bench.run.batch_size}, {precision} on both sides\n")
    print("| seconds | Lightning, in memory | lesionlens | ratio | spread of ratios | goal |")
    print("|---|---|---|---|---|---|")
    for name in PHASES:
        for label, key in ((f"{name} step", name), (f"{name} validation batch", f"validation {name}")):
            _row(label, found.peer[key], found.ours[key], goals.get(key))
    _row("phase 3 checkpoint", found.peer["checkpoint phase 3"], found.ours["checkpoint phase 3"], None)
    _row("phase 3 step against PNG files", found.png, found.ours["phase 3"], None)
    naive = found.middle("peer", "phase 3") / bench.run.batch_size
    built = found.middle("ours", "build")
    print(f"| building three levels, a patch | | {built:.4f} | {built / naive:.2f} naive steps | | |")
    print(
        f"\nBoth sides after the same steps: validation losses differ by {max(found.losses):.1e} at most (relative), "
        f"{100 * min(found.same):.1f} % of predictions are the same at least."
    )


def goals_of(bench: Bench) -> dict[str, float]:
    """Goals of the ratios of a bench; empty where none were set."""
    return GOALS.get(bench.run.backbone, {}) if bench.training.precision == "float32" else {}


def show_precisions(plain: Measured, reduced: Measured) -> None:
    """bfloat16 on lesionlens' side beside float32 on either, in Markdown."""
    print("\n#### What bfloat16 changes\n")
    print("| seconds | float32 | lesionlens in bfloat16 | ratio | spread of ratios | |\n|---|---|---|---|---|---|")
    for name in list(PHASES)[1:]:
        _row(f"{name} step, lesionlens", plain.ours[name], reduced.ours[name], None)
        _row(f"{name} step, Lightning", plain.peer[name], reduced.ours[name], None)


def _row(label: str, peer: list[float], ours: list[float], goal: float | None) -> None:
    ratios = [a / b for a, b in zip(peer, ours, strict=True)]
    middle = statistics.median(peer), statistics.median(ours)
    print(
        f"| {label} | {middle[0]:.4g} | {middle[1]:.4g} | {middle[0] / middle[1]:.4g} "
        f"| {min(ratios):.4g} to {max(ratios):.4g} | {'' if goal is None else f'{goal:g}'} |"
    )
