"""Whole films: memory at full size, and both steps of their training beside the same recipe in PyTorch Lightning.

    python -m benchmarks.whole             ResNet50 at 576 x 448; memory at 1152 x 896. 40 minutes of a quiet core
    python -m benchmarks.whole --small     a try in a minute: ResNet18 at 128 x 96; memory at 256 x 192
    python -m benchmarks.whole --part speed | memory
    python -m benchmarks.whole --bfloat16  and in bfloat16, beside Lightning's bf16-mixed

Speed: step 1 trains the top on features that are computed once, where the peer runs the trunk in every step; step 2
trains every layer on both sides. Same first weights, batches, rates and, in float64, losses; CPU seconds of one
thread, in turns.

Memory: private memory of the process and its children, 20 times a second, of what differs between few films and all of
CBIS-DDSM's 3,032: a network and what its steps keep is the same for both. Pixels lie in a file and are not counted.
"""

import argparse
import copy
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.allocation import of_a_script
from benchmarks.interleaved import ratios, spread
from benchmarks.train_ours import Bench, patches_of, train_phase
from benchmarks.train_peer import fit_phase, in_memory
from lesionlens.config.data import DataConfig, ImageConfig, PhantomConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import Precision, RunConfig, StoppingConfig, TrainingConfig
from lesionlens.datasets.registry import read_index
from lesionlens.phantom.dataset import write_phantom
from lesionlens.processes import keep_freed_memory
from lesionlens.samples.films.building import build_films
from lesionlens.training.feature_cache import FeatureCache
from lesionlens.training.fit import first_model, fit
from lesionlens.training.inputs import Inputs
from lesionlens.training.strategies import ALL, TOP, Phase

GOALS = {"step 1": 3.0, "step 2": 1.3}
MOST = 4.0
"""GB beside the network at full size."""
CBIS = 3032
WARM, COUNTED = 8, 4
"""Steps of a phase: in the first few a process grows to the size that it keeps."""
EPOCHS = 10
"""Of a step 1 whose one pass over the films counts, too."""


@dataclass(frozen=True)
class Setting:
    """speed, memory: height and width of films; mammogram: height of a whole one, of which `cut` are cut."""

    backbone: str
    speed: tuple[int, int]
    memory: tuple[int, int]
    mammogram: int
    cut: int


FULL = Setting("resnet50", (576, 448), (1152, 896), 4800, 6)
SMALL = Setting("resnet18", (128, 96), (256, 192), 600, 6)


def two_step(backbone: str, batch: int, precision: Precision = "float32") -> tuple[RunConfig, TrainingConfig]:
    """A run of films with random first weights, one epoch in each step."""
    rates = {"head_rate": 1e-4, "unit1_rate": 1e-5}
    run = RunConfig.model_validate({"backbone": backbone, "strategy": "two_step", "batch_size": batch} | rates)
    stopping = StoppingConfig(max_epochs=1)
    return run, TrainingConfig(weights="none", top="residual", stopping=stopping, precision=precision)


def _ours(bench: Bench, phase: Phase) -> tuple[float, float]:
    """Mean CPU seconds of a step that counts, and the last validation loss."""
    trained = train_phase(bench, phase, time.process_time)
    return float(np.mean(trained.steps[WARM:])), trained.loss


def _peer(bench: Bench, phase: Phase, folder: Path) -> tuple[float, float]:
    """The same of Lightning, with images in memory."""
    steps, loss = _fitted(bench, phase, folder)
    return float(np.mean(steps[WARM:])), loss


def _fitted(bench: Bench, phase: Phase, folder: Path) -> tuple[list[float], float]:
    """Lightning's CPU seconds of each step, and its last validation loss."""
    run, training, data = bench.run, bench.training, in_memory(bench.inputs)
    with of_a_script():
        marks, *_ = fit_phase(
            copy.deepcopy(bench.first), phase, run, training, training.stopping, data, bench.rows, folder
        )
    return [b - a for a, b in pairwise(marks.steps)], marks.losses[-1]


class Double(Inputs):
    """Inputs in float64."""

    def __call__(self, rows: Sequence[int] | Tensor) -> Tensor:
        return super().__call__(rows).double()


def alike(setting: Setting, folder: Path) -> None:
    """Losses of both sides after three steps of every layer in float64, on small films: in float32 a deep network with
    random weights makes more of how either side rounds."""
    run, training = two_step(setting.backbone, 8)
    films = patches_of(24, 8, 96, 64)
    first, inputs = first_model(run, training, films).double(), Double(films, "train", torch.device("cpu"))
    bench = Bench(run, training, films, first, inputs, folder, "cpu")
    ours, peer = train_phase(bench, ALL, time.process_time).loss, _fitted(bench, ALL, folder / "alike")[1]
    print(f"losses in float64: {ours:.9f} {peer:.9f}, apart by {abs(ours - peer) / peer:.0e}")


def speed(setting: Setting, rounds: int, folder: Path, batch: int, precisions: Sequence[Precision]) -> None:
    """Seconds of a training step of both sides, round by round, in each precision."""
    films = patches_of((WARM + COUNTED) * batch, batch, *setting.speed)
    inputs = Inputs(films, "train", torch.device("cpu"))
    benches = {}
    for precision in precisions:
        run, training = two_step(setting.backbone, batch, precision)
        benches[precision] = Bench(run, training, films, first_model(run, training, films), inputs, folder, "cpu")
    started = time.process_time()
    FeatureCache(folder / "cache", inputs).get(benches[precisions[0]].first, ("unit1",))
    once = (time.process_time() - started) / len(inputs)
    print(f"trunk over a film, once: {once:.2f} s", flush=True)
    for name, phase in (("step 1", TOP), ("step 2", ALL)):
        found: dict[str, list[float]] = {}
        losses: dict[str, float] = {}
        for number in range(rounds):
            sides = {}
            for precision, bench in benches.items():
                sides[f"ours {precision}"] = partial(_ours, bench, phase)
                sides[f"Lightning {precision}"] = partial(_peer, bench, phase, folder / name / precision / str(number))
            for side in sides if number % 2 else reversed(sides):
                seconds, losses[side] = sides[side]()
                found.setdefault(side, []).append(seconds)
        for precision in precisions:
            show_speed(name, batch, precision, found, losses, once)
        if len(precisions) > 1:
            crossed = ratios(found, "ours bfloat16", "Lightning float32")
            print(f"  Lightning in float32 / ours in bfloat16: x {spread(crossed)}")


def show_speed(
    name: str,
    batch: int,
    precision: Precision,
    found: dict[str, list[float]],
    losses: dict[str, float],
    once: float,
) -> None:
    """Seconds and ratios of a step in one precision; `once`: seconds of the trunk over a film."""
    ours, peer = found[f"ours {precision}"], found[f"Lightning {precision}"]
    ratio = ratios(found, f"ours {precision}", f"Lightning {precision}")
    print(f"{name}, {precision}: a step of {batch} films, s: ours {spread(ours)}, Lightning {spread(peer)}")
    same = f"losses {losses[f'ours {precision}']:.6f} {losses[f'Lightning {precision}']:.6f}"
    print(f"  Lightning / ours: x {spread(ratio)}, goal {GOALS[name]}; {same}", flush=True)
    if name == "step 1":
        whole = [EPOCHS * b / (EPOCHS * a + once * batch) for a, b in zip(ours, peer, strict=True)]
        print(f"  {EPOCHS} epochs, with the pass over the films: x {spread(whole)}")


def private(process: str = "self") -> int:
    """Bytes of private memory of a process and those that it has started."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        below = [each for file in Path(f"/proc/{process}/task").glob("*/children") for each in file.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    own = next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon")), 0)
    return own + sum(private(each) for each in below)


def peak(work: Callable[[], object]) -> int:
    """The most private memory while `work` runs, in bytes."""
    found, done = [private()], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            found.append(private())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        work()
    finally:
        done.set()
        watching.join()
    return max(found)


def train_films(setting: Setting, count: int, folder: Path) -> None:
    """Both steps, an epoch of one batch of two each, of a set of so many films, whose pixels lie in a file."""
    shape, (height, width) = (count, *setting.memory), setting.memory
    folder.mkdir()
    few = patches_of(2, 2, 8, 8)
    masks = np.ones((count, height // 4, width // 4), dtype=np.bool_)
    films = replace(
        few,
        pixels=np.memmap(folder / "films.u8", dtype=np.uint8, mode="w+", shape=shape),
        masks=masks,
        breasts=masks.copy(),
        ids=np.arange(count),
        labels=np.arange(count) % 2,
        splits=np.array(["train"] * 2 + ["validation"] * 2 + ["test"] * (count - 4)),
        patients=np.array([f"P_{n:05d}" for n in range(count)]),
        has_mask=np.ones(count, dtype=np.bool_),
    )
    run, training = two_step("resnet18", 2)
    list(fit(run, training, films, folder / "run", None, "cpu"))


def drawn(setting: Setting) -> DataConfig:
    """Mammograms of full size."""
    phantom = PhantomConfig(height=setting.mammogram, train_per_class=2, test_per_class=1, callback_free=2)
    return DataConfig(source="phantom", phantom=phantom)


def cut_films(setting: Setting, count: int, folder: Path) -> None:
    """What prepare does with so many of the mammograms in `folder` before they are stored."""
    height, width = setting.memory
    study = StudyConfig(data=drawn(setting), unit="image", images=ImageConfig(height=height, width=width))
    index = read_index(study.data, folder)
    keys = {image.key for image in index.images[:count]}
    index = replace(
        index,
        images=tuple(image for image in index.images if image.key in keys),
        lesions=tuple(lesion for lesion in index.lesions if lesion.image_key in keys),
    )
    for _items in build_films(index, folder, study):
        pass  # each film is dropped before the next


def memory(setting: Setting, small: bool, folder: Path) -> None:
    """Peaks of training on few films and on all, and of cutting few and more."""
    size = " x ".join(map(str, setting.memory))
    for what, counts in (("train", (4, CBIS)), ("prepare", (setting.cut // 2, setting.cut))):
        found = []
        if what == "prepare":
            write_phantom(drawn(setting).phantom, folder / "phantom")
        for count in counts:
            at = folder / ("phantom" if what == "prepare" else f"films {count}")
            given = ["--child", what, str(count), str(at), *["--small"] * small]
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.whole", *given], check=True, capture_output=True, text=True
            )
            found.append(float(done.stdout.split()[-1]))
        print(f"{what} at {size}: {counts[0]} films {found[0]:.2f} GB, {counts[1]} films {found[1]:.2f} GB")
        beside = found[1] - found[0] if what == "train" else found[1]
        print(f"  beside the network: {beside:.2f} GB, goal at most {MOST:g}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--part", choices=("speed", "memory"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--bfloat16", action="store_true", help="and in bfloat16, the peer in bf16-mixed, in turns")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    setting = SMALL if options.small else FULL
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        if options.child:
            what, count, folder = options.child[0], int(options.child[1]), Path(options.child[2])
            keep_freed_memory()
            work = cut_films if what == "prepare" else train_films
            print(f"{peak(lambda: work(setting, count, folder)) / 1e9:.3f}")
            return
        if options.part != "speed":
            memory(setting, options.small, Path(name))
        if options.part != "memory":
            keep_freed_memory()
            alike(setting, Path(name))
            precisions: list[Precision] = ["float32", "bfloat16"] if options.bfloat16 else ["float32"]
            speed(setting, options.rounds, Path(name), options.batch, precisions)


if __name__ == "__main__":
    main()
