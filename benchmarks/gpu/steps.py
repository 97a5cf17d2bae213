"""Training steps on a GPU: as a CUDA graph, eager, compiled; by Lightning; in bfloat16; several runs at once."""

import copy
import math
import multiprocessing
import shutil
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.synchronize import Barrier
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.setting import Setting
from benchmarks.train_ours import Bench, Mode, bench_of, build_cache, checkpoint_seconds, step_of
from lesionlens.config.training import Precision, StoppingConfig
from lesionlens.training.epochs import train_epoch, validate
from lesionlens.training.strategies import HEAD, HEAD_1, HEAD_1_2, Phase, set_modes

PHASES = {"phase 1": HEAD, "phase 2": HEAD_1, "phase 3": HEAD_1_2}
PATCHES, HELD_OUT = 2150, 380
EPOCHS_A_PHASE, EPOCHS = 15, 45
Result = dict[str, float | str]


def bench(setting: Setting, backbone: str, batch: int | None = None) -> Bench:
    """The backbone on samples for an epoch of `steps` steps, its features stored."""
    size, batch = setting.size, batch or setting.batch
    folder = setting.folder / f"{backbone} {batch}"
    made = bench_of(backbone, size, batch, setting.steps * batch, 2 * batch, folder, setting.device)
    build_cache(made, setting.clock)
    return made


def epoch_seconds(
    setting: Setting, made: Bench, phase: Phase, mode: Mode, around: AbstractContextManager[object] | None = None
) -> float:
    """Seconds of an epoch, the mean over two; warm-up, capture and compilation happen in one before.

    around: entered for these two.
    """
    network = copy.deepcopy(made.first).to(made.device).to(memory_format=torch.channels_last)
    step, _, _ = step_of(made, phase, network, mode)
    device, run, rows = torch.device(made.device), made.run, made.rows[0]
    train_epoch(step, device, rows, run.batch_size, run.seed, 1)
    with around or nullcontext():
        started = setting.clock()
        for epoch in (2, 3):
            train_epoch(step, device, rows, run.batch_size, run.seed, epoch)
        return (setting.clock() - started) / 2


def modes(setting: Setting, backbone: str) -> Result:
    """Milliseconds of a step: eager, as a CUDA graph, by `torch.compile`; and the time in which the GPU computes."""
    made, found = bench(setting, backbone), Result()
    for name, phase in PHASES.items():
        for mode in ("eager", "graph", "compiled") if setting.device == "cuda" else ("eager", "compiled"):
            found[f"{name}, {mode}, ms"] = 1e3 * epoch_seconds(setting, made, phase, mode) / setting.steps
        if setting.device == "cuda":
            found[f"{name}, graph, % of time the GPU computes"] = 100 * _busy(setting, made, phase)
    shutil.rmtree(made.folder)
    return found


def _busy(setting: Setting, made: Bench, phase: Phase) -> float:
    """Proportion of an epoch's wall time in which the GPU runs a kernel."""
    seen = profile(activities=[ProfilerActivity.CUDA])
    wall = epoch_seconds(setting, made, phase, "graph", seen)
    computed: float = sum(event.self_device_time_total for event in seen.key_averages()) / 2e6
    return computed / wall


def lightning(setting: Setting, backbone: str) -> Result:
    """Milliseconds of a step of PyTorch Lightning in bf16-mixed, patches in memory and as PNG files."""
    from benchmarks.train_peer import Files, fit_phase, in_memory  # its package is no part of a bare machine

    made, found = bench(setting, backbone), Result()
    sources = {"in memory": (in_memory(made.inputs), 0), "PNG files": (Files(made.folder / "png", made.inputs), 1)}
    for name, phase in PHASES.items():
        for where, (data, several) in sources.items():
            stopping, place = StoppingConfig(max_epochs=3, patience=3), made.folder / "peer"
            marks, *_ = fit_phase(
                copy.deepcopy(made.first), phase, made.run, made.training, stopping, data, made.rows, place,
                setting.device, several * setting.workers, time.perf_counter,
            )  # fmt: skip
            shutil.rmtree(place)
            marked = setting.steps + 1  # the end of the last step is marked, too
            epochs = [marks.steps[i : i + marked] for i in range(0, len(marks.steps), marked)]
            seconds = statistics.mean((each[-1] - each[0]) / setting.steps for each in epochs[1:])
            found[f"{name}, {where}, ms"] = 1e3 * seconds
    shutil.rmtree(made.folder)
    return found


def bfloat16(setting: Setting, backbone: str) -> Result:
    """Phase 3 in float32 and in bfloat16, from the same weights, over the same epoch: how far apart they end."""
    made, losses, chosen = bench(setting, backbone), [], []
    for dtype in (None, torch.bfloat16):

        def precise(
            device: torch.device, _wanted: Precision, dtype: torch.dtype | None = dtype
        ) -> AbstractContextManager[None]:
            return nullcontext() if dtype is None else torch.autocast(device.type, dtype)

        with patch("benchmarks.train_ours.arithmetic", precise):
            network = copy.deepcopy(made.first).to(made.device).to(memory_format=torch.channels_last)
            step, scored, labels = step_of(made, HEAD_1_2, network, "eager")
            train_epoch(step, torch.device(made.device), made.rows[0], made.run.batch_size, made.run.seed, 1)
            network.eval()
            loss, *_ = validate(scored, labels, made.rows[1], made.run.batch_size)
            with torch.no_grad():
                logits, _ = scored(torch.tensor(made.rows[1], device=made.device))
        losses.append(loss)
        chosen.append(torch.softmax(logits.float().cpu(), 1))
    shutil.rmtree(made.folder)
    same = (chosen[0].argmax(1) == chosen[1].argmax(1)).double().mean()
    return {
        "validation loss, float32": losses[0],
        "validation loss, bfloat16": losses[1],
        "largest difference of a probability": float((chosen[0] - chosen[1]).abs().max()),
        "% same predictions": 100 * float(same),
    }


def side_by_side(setting: Setting, count: int) -> Result:
    """Steps a second of phase 3 with so many runs at once on the device, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, context, _remember, (barrier,)) as pool:
        spans = list(pool.map(_one_run, [setting] * count, range(count)))
    seconds = max(end for _, end in spans) - min(start for start, _ in spans)
    return {"steps a second, all runs": count * 2 * setting.steps / seconds}


_barrier: list[Barrier] = []


def _remember(barrier: Barrier) -> None:
    _barrier.append(barrier)


def _one_run(setting: Setting, number: int) -> tuple[float, float]:
    """Wall time at the beginning and the end of two epochs, after one that warms up in every process."""
    backbone = setting.backbones[0]
    made = bench_of(
        backbone, setting.size, setting.batch, setting.steps * setting.batch, setting.batch,
        setting.folder / f"run {number}", setting.device,
    )  # fmt: skip
    build_cache(made, setting.clock)
    network = copy.deepcopy(made.first).to(made.device).to(memory_format=torch.channels_last)
    step, _, _ = step_of(made, HEAD_1_2, network)
    device, run, rows = torch.device(made.device), made.run, made.rows[0]
    set_modes(network, HEAD_1_2)
    train_epoch(step, device, rows, run.batch_size, run.seed, 1)
    setting.clock()
    _barrier[0].wait(300)
    started = time.time()
    for epoch in (2, 3):
        train_epoch(step, device, rows, run.batch_size, run.seed, epoch)
    setting.clock()
    ended = time.time()
    shutil.rmtree(made.folder)
    return started, ended


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


def whole_grid(setting: Setting) -> Result:
    """Minutes that the study's 48 runs would take, one at a time, from steps of every backbone and batch size."""
    steps: dict[Key, float] = {}
    checkpoints: dict[Key, float] = {}
    caches: dict[str, float] = {}
    for backbone in setting.grid:
        for batch in setting.batches:
            folder = setting.folder / f"{backbone} {batch}"
            made = bench_of(backbone, setting.size, batch, setting.steps * batch, batch, folder, setting.device)
            built, _ = build_cache(made, setting.clock)
            caches[backbone] = built / len(made.inputs) * (PATCHES + HELD_OUT)
            for name, phase in PHASES.items():
                mode: Mode = "graph" if setting.device == "cuda" else "eager"
                steps[backbone, name, batch] = epoch_seconds(setting, made, phase, mode) / setting.steps
                checkpoints[backbone, name, batch] = checkpoint_seconds(made, phase, setting.clock)
            shutil.rmtree(made.folder)
    return {"minutes": grid_minutes(steps, checkpoints, caches), "runs": 4 * len(steps) / len(PHASES)}
