"""Training: the same steps and runs by lesionlens and by PyTorch Lightning, side by side.

    python -m benchmarks.train                            ResNet50 and VGG19 at 224, five rounds, one thread
    python -m benchmarks.train --small                    a try in a minute: ResNet18 at 96
    python -m benchmarks.train --device cuda              wall time, share of time the GPU computes, grid estimate

Rounds are interleaved: in each one both sides take the same steps from the same weights. Seconds are CPU seconds of the
process (all threads, reading and writing included); on a GPU, wall time. lesionlens keeps freed memory, as the
pipeline's tasks do; the peer has the C library's defaults.

Whole runs at 224 would take days on one thread, so they are composed from what was measured: epochs x (steps of an
epoch x seconds of a step + batches of the validation split x seconds of a batch + seconds of a checkpoint), and on
lesionlens' side once the building of the cache and once its digests per run. The last table shows how far such a sum
is from whole grids that really ran, at a size where that takes minutes.
"""

import argparse
import copy
import math
import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks import train_gpu
from benchmarks.allocation import of_a_script
from benchmarks.train_ours import (
    CPU,
    Bench,
    agreement,
    bench_of,
    build_cache,
    checkpoint_seconds,
    fit_run,
    train_phase,
)
from benchmarks.train_peer import Files, fit_phase, in_memory
from benchmarks.train_peer import fit_run as fit_peer
from lesionlens.config import HyperSet, RunConfig, StoppingConfig, TrainingConfig
from lesionlens.models.classifier import Classifier
from lesionlens.processes import keep_freed_memory
from lesionlens.training.checkpoints import load_model
from lesionlens.training.strategies import HEAD, HEAD_1, HEAD_1_2

PHASES = {"phase 1": HEAD, "phase 2": HEAD_1, "phase 3": HEAD_1_2}
GOALS = {
    "resnet50": {"phase 1": 1000, "phase 2": 3.0, "phase 3": 1.6, "S1": 2.8, "S2": 1.7, "grid": 2.1},
    "vgg19": {"phase 1": 1000, "phase 2": 5.5, "phase 3": 1.7, "S1": 3.5, "S2": 1.8, "grid": 2.4},
}
PATCHES, HELD_OUT = 2150, 380
"""Training and validation patches of the study: 2,530 with 15 % for validation."""
EPOCHS = {"phase 1": 15, "phase 2": 15, "phase 3": 15, "S2": 45}
"""Epochs of a run, about 45, as composed; the study names no more than its winners' best epochs."""


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


def measure(bench: Bench, rounds: int, clock: Callable[[], float], workers: int) -> Measured:
    """All phases, `rounds` times. A phase takes as many steps as the training split has batches; the first of them
    warms up and is not counted.
    """
    found = Measured()
    memory, files = in_memory(bench.inputs), Files(bench.folder / "png", bench.inputs)
    batches = math.ceil(len(bench.rows[1]) / bench.run.batch_size)
    for number in range(rounds):
        built, opened = build_cache(bench, clock)
        found.add("ours", "build", built / len(bench.inputs))
        found.add("ours", "open", opened / len(bench.inputs))
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
        found.png.append(_png_step(bench, files, clock, workers))
    return found


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
    goals = GOALS.get(bench.run.backbone, {})
    print(f"\n#### {bench.run.backbone}, {bench.patches.pixels.shape[1]} px, batch {bench.run.batch_size}\n")
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


def show_runs(bench: Bench, found: Measured) -> None:
    """Whole runs of the study's size, composed from it."""
    goals, epochs = GOALS.get(bench.run.backbone, {}), EPOCHS
    peer, ours = (composed(found, side, bench.run.batch_size, PATCHES, HELD_OUT, epochs) for side in ("peer", "ours"))
    names = {"one S1": "one strategy-1 run", "one S2": "one strategy-2 run", "S1": "six strategy-1 runs",
             "S2": "six strategy-2 runs", "grid": "twelve runs, one cache"}  # fmt: skip
    print(f"\nComposed for {PATCHES + HELD_OUT} patches, epochs {epochs}, cache building charged, in hours:\n")
    print("| | Lightning, in memory | lesionlens | ratio | goal |")
    print("|---|---|---|---|---|")
    for key, label in names.items():
        ratio = peer[key] / ours[key]
        print(f"| {label} | {peer[key] / 3600:.2f} | {ours[key] / 3600:.2f} | {ratio:.2f} | {goals.get(key, '')} |")


def _row(label: str, peer: list[float], ours: list[float], goal: float | None) -> None:
    ratios = [a / b for a, b in zip(peer, ours, strict=True)]
    middle = statistics.median(peer), statistics.median(ours)
    print(
        f"| {label} | {middle[0]:.4g} | {middle[1]:.4g} | {middle[0] / middle[1]:.4g} "
        f"| {min(ratios):.4g} to {max(ratios):.4g} | {'' if goal is None else f'{goal:g}'} |"
    )


def whole_grid(folder: Path, rounds: int, clock: Callable[[], float]) -> None:
    """Twelve runs of ResNet18 at 96 px that really run on both sides, and what their steps would have foretold."""
    epochs = {"phase 1": 2, "phase 2": 2, "phase 3": 2, "S2": 6}
    bench = bench_of("resnet18", 96, 16, 128, 32, folder / "steps")
    found = measure(bench, rounds, clock, 0)
    rates = [(head, unit) for head in (1e-4, 1e-3) for unit in (1e-5, 3e-5, 3e-4)]
    sets = [HyperSet(batch_size=16, head_rate=head, unit1_rate=unit) for head, unit in rates]
    seconds = {("peer", "S1"): 0.0, ("peer", "S2"): 0.0, ("ours", "S1"): 0.0, ("ours", "S2"): 0.0}
    losses, same = [], []
    memory = in_memory(bench.inputs)
    shutil.rmtree(folder / "steps" / "cache", ignore_errors=True)
    for number, (strategy, hyper) in enumerate((s, h) for s in ("gradual", "simultaneous") for h in sets):
        run = RunConfig.model_validate({"backbone": "resnet18", "strategy": strategy, **hyper.model_dump()})
        most = epochs["phase 1"] if strategy == "gradual" else epochs["S2"]
        stopping = StoppingConfig(max_epochs=most, patience=most)
        training = TrainingConfig(weights="none", stopping=stopping)
        place = folder / f"{number}"
        ends: dict[str, tuple[float, Classifier]] = {}
        for side in ("ours", "peer") if number % 2 else ("peer", "ours"):
            started = clock()
            if side == "ours":
                loss, best = fit_run(bench.first, run, training, bench.patches, place, folder / "cache")
            else:
                with of_a_script():
                    ends[side] = fit_peer(bench.first, run, training, memory, bench.rows, folder / "peer")
            seconds[side, "S1" if strategy == "gradual" else "S2"] += clock() - started
        ends["ours"] = loss, load_model(run, training, bench.patches.classes, place, best)
        losses.append(abs(ends["ours"][0] - ends["peer"][0]))
        same.append(agreement([ends["ours"][1], ends["peer"][1]], bench.inputs, bench.rows[1]))
        shutil.rmtree(place)
        shutil.rmtree(folder / "peer")
    show_steps(bench, found)
    _show_grid(found, seconds, epochs)
    print(
        f"\nBest validation loss of the twelve runs differs by {statistics.median(losses):.1e} in the median, "
        f"{max(losses):.1e} at most; {100 * statistics.mean(same):.1f} % of predictions are the same."
    )


def _show_grid(found: Measured, seconds: dict[tuple[str, str], float], epochs: dict[str, int]) -> None:
    print("\n#### Twelve whole runs: resnet18, 96 px, 128 + 32 patches, six epochs each, from an empty cache\n")
    print("| CPU seconds | Lightning, in memory | lesionlens | ratio | composed ratio |")
    print("|---|---|---|---|---|")
    peer, ours = (composed(found, side, 16, 128, 32, epochs) for side in ("peer", "ours"))
    for key, label in (("S1", "six strategy-1 runs"), ("S2", "six strategy-2 runs, cache there")):
        a, b = seconds["peer", key], seconds["ours", key]
        built = 0.0 if key == "S1" else found.middle("ours", "build") * 160
        print(f"| {label} | {a:.1f} | {b:.1f} | {a / b:.2f} | {peer[key] / (ours[key] - built):.2f} |")
    a, b = (sum(v for (side, _), v in seconds.items() if side == name) for name in ("peer", "ours"))
    print(f"| twelve runs, one cache | {a:.1f} | {b:.1f} | {a / b:.2f} | {peer['grid'] / ours['grid']:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", nargs="*", default=["resnet50", "vgg19"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3, help="of a phase and round; the first warms up")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--no-grid", action="store_true", help="leave the whole runs of resnet18 out")
    parser.add_argument("--small", action="store_true", help="resnet18 at 96 px, two rounds")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device here")
    if given.small:
        given.backbone, given.size, given.rounds = ["resnet18"], 96, 2
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        if given.device == "cuda":
            train_gpu.main(Path(name), given.backbone, given.size, given.batch, given.rounds)
            return
        print(f"One thread, {given.rounds} interleaved rounds, CPU seconds of the process, medians.")
        for backbone in given.backbone:
            train = given.steps * given.batch
            bench = bench_of(backbone, given.size, given.batch, train, given.batch, Path(name) / backbone)
            found = measure(bench, given.rounds, CPU, 0)
            show_steps(bench, found)
            show_runs(bench, found)
        if not given.no_grid:
            whole_grid(Path(name) / "grid", given.rounds, CPU)


if __name__ == "__main__":
    main()
