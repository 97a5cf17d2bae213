"""Training on a GPU: seconds of a step against Lightning, share of time the GPU computes, what the grid would take.

Wall time, the device synchronised around every measurement. Lightning runs in bf16-mixed, too, once with images in
memory and once with PNG files and eight workers.
"""

import copy
import math
import shutil
import statistics
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset

from benchmarks.train_ours import Bench, bench_of, build_cache, checkpoint_seconds, step_of
from benchmarks.train_peer import Files, fit_phase, in_memory
from lesionlens.config.training import StoppingConfig
from lesionlens.training.epochs import train_epoch
from lesionlens.training.strategies import HEAD, HEAD_1, HEAD_1_2, Phase

PHASES = {"phase 1": HEAD, "phase 2": HEAD_1, "phase 3": HEAD_1_2}
GOALS = {"resnet50": 3.0, "vgg19": 1.4}
PNG_GOAL, PNG_WORKERS = 8.0, 8
PATCHES, HELD_OUT, BATCHES = 2150, 380, (8, 16, 32)
EPOCHS_A_PHASE, EPOCHS = 15, 45
RUNS, GRID_MINUTES = 48, 15.0


def clock() -> float:
    """Wall time when the device has finished what was asked of it."""
    torch.cuda.synchronize()
    return time.perf_counter()


def ours(bench: Bench, phase: Phase) -> float:
    """Seconds of a step, the mean over two epochs; warm-up and capture happen in an epoch before."""
    _, seconds = _epochs(bench, phase)
    return seconds / math.ceil(len(bench.rows[0]) / bench.run.batch_size)


def _epochs(bench: Bench, phase: Phase, profiled: bool = False) -> tuple[float, float]:
    """(GPU seconds, wall seconds) of an epoch, after one that warms up; GPU seconds only if profiled."""
    network = copy.deepcopy(bench.first).to(bench.device).to(memory_format=torch.channels_last)
    step, _, _ = step_of(bench, phase, network)
    device, run, rows = torch.device(bench.device), bench.run, bench.rows[0]
    train_epoch(step, device, rows, run.batch_size, run.seed, 1)
    activities = profile(activities=[ProfilerActivity.CUDA]) if profiled else nullcontext()
    with activities as seen:
        started = clock()
        for epoch in (2, 3):
            train_epoch(step, device, rows, run.batch_size, run.seed, epoch)
        wall = (clock() - started) / 2
    computed = sum(event.self_device_time_total for event in seen.key_averages()) / 2e6 if seen is not None else 0.0
    return computed, wall


def peer(bench: Bench, phase: Phase, data: Dataset[tuple[torch.Tensor, ...]], workers: int) -> float:
    """Seconds of a step of Lightning: its second and third epoch."""
    stopping, place = StoppingConfig(max_epochs=3, patience=3), bench.folder / "peer"
    network = copy.deepcopy(bench.first)
    marks, *_ = fit_phase(
        network, phase, bench.run, bench.training, stopping, data, bench.rows, place, "cuda", workers,
        time.perf_counter,
    )  # fmt: skip
    shutil.rmtree(place)
    steps = math.ceil(len(bench.rows[0]) / bench.run.batch_size) + 1  # the end of the last step is marked, too
    epochs = [marks.steps[i : i + steps] for i in range(0, len(marks.steps), steps)]
    return statistics.mean((each[-1] - each[0]) / (steps - 1) for each in epochs[1:])


def busy(bench: Bench, phase: Phase) -> float:
    """Share of an epoch's wall time in which the GPU runs a kernel."""
    computed, wall = _epochs(bench, phase, profiled=True)
    return computed / wall


Key = tuple[str, str, int]
"""Backbone, phase, batch size."""


def grid_minutes(steps: dict[Key, float], checkpoints: dict[Key, float], caches: dict[str, float]) -> float:
    """48 runs, one at a time: seconds of a step, of an epoch's checkpoint, and to build each backbone's cache.

    A validation batch is counted as a third of a training step.
    """
    total = sum(caches.values())
    for key, step in steps.items():
        _, phase, batch = key
        epochs = EPOCHS_A_PHASE + (EPOCHS if phase == "phase 3" else 0)
        an_epoch = step * (math.ceil(PATCHES / batch) + math.ceil(HELD_OUT / batch) / 3) + checkpoints[key]
        total += 2 * epochs * an_epoch  # two learning rates for each batch size
    return total / 60


def main(folder: Path, backbones: list[str], size: int, batch: int, rounds: int) -> None:
    """Print all of it in Markdown. The grid is estimated from the four backbones of the study."""
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {rounds} interleaved rounds, wall time.\n")
    print("| backbone | phase | Lightning, in memory, ms | PNG files, 8 workers, ms | lesionlens, ms | ratio | goal "
          "| ratio to PNG | goal | GPU computes |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for backbone in backbones:
        bench = bench_of(backbone, size, batch, 40 * batch + 3, 2 * batch, folder / backbone, "cuda")
        build_cache(bench, clock)
        memory, files = in_memory(bench.inputs), Files(folder / backbone / "png", bench.inputs)
        for name, phase in PHASES.items():
            a, b, c = [], [], []
            for _ in range(rounds):
                a.append(peer(bench, phase, memory, 0) * 1e3)
                b.append(ours(bench, phase) * 1e3)
                c.append(peer(bench, phase, files, PNG_WORKERS) * 1e3)
            one, two, three = (statistics.median(each) for each in (a, b, c))
            goal = GOALS.get(backbone, "") if name == "phase 3" else ""
            print(f"| {backbone} | {name} | {one:.2f} | {three:.2f} | {two:.2f} | {one / two:.2f} | {goal} "
                  f"| {three / two:.2f} | {PNG_GOAL if goal else ''} | {100 * busy(bench, phase):.0f} % |")  # fmt: skip
    _estimate(folder, size)


def _estimate(folder: Path, size: int) -> None:
    steps: dict[Key, float] = {}
    checkpoints: dict[Key, float] = {}
    caches: dict[str, float] = {}
    for backbone in ("vgg16", "vgg19", "resnet34", "resnet50"):
        for batch in BATCHES:
            bench = bench_of(backbone, size, batch, 20 * batch, batch, folder / f"{backbone} {batch}", "cuda")
            built, _ = build_cache(bench, clock)
            caches[backbone] = built / len(bench.inputs) * (PATCHES + HELD_OUT)
            for name, phase in PHASES.items():
                steps[backbone, name, batch] = ours(bench, phase)
                checkpoints[backbone, name, batch] = checkpoint_seconds(bench, phase, clock)
            shutil.rmtree(bench.folder)
    minutes = grid_minutes(steps, checkpoints, caches)
    print(f"\nThe grid: {RUNS} runs, {PATCHES + HELD_OUT} patches, {EPOCHS} epochs a run, one run at a time, caches "
          f"built: {minutes:.1f} minutes (goal: under {GRID_MINUTES:g}).")  # fmt: skip
