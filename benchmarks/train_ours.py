"""lesionlens' side of the training benchmark, piece by piece: the cache, a phase, a whole run."""

import copy
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lesionlens.config.training import Precision, RunConfig, StoppingConfig, TrainingConfig
from lesionlens.models.arithmetic import arithmetic
from lesionlens.models.classifier import Classifier
from lesionlens.records import Checkpoint, SampleArrays, Statistics
from lesionlens.training import feature_cache
from lesionlens.training.checkpoints import Position, Saved, optimizer_tensors, write_checkpoint
from lesionlens.training.epochs import Graphed, Scored, Step, batches, eager, reproducible, validate
from lesionlens.training.feature_cache import FeatureCache
from lesionlens.training.fit import first_model, fit
from lesionlens.training.inputs import Inputs, cached
from lesionlens.training.strategies import Phase, Stopper, parameter_groups, set_modes

Mode = Literal["eager", "graph", "compiled"]
CLASSES = ("B", "BC", "BM", "MC", "MM")


def patches_of(train: int, validation: int, height: int, width: int, seed: int = 0) -> SampleArrays:
    """Stripes whose width is the class, in noise: something to learn, of any size."""
    count = train + validation
    labels = (np.arange(count) % 5).astype(np.int64)
    stripes = np.sin(np.arange(height)[None, :, None] * (labels[:, None, None] + 1) / 3) * 60 + 110
    noise = np.random.default_rng(seed).normal(0, 90, (count, height, width))
    pixels = (stripes + noise).clip(0, 255).astype(np.uint8)
    return SampleArrays(
        digest=f"{seed:064d}",
        classes=CLASSES,
        ids=np.arange(1, count + 1),
        pixels=pixels,
        masks=np.zeros(pixels.shape, bool),
        labels=labels,
        splits=np.array(["train"] * train + ["validation"] * validation),
        patients=np.array([f"P_{i:05d}" for i in range(count)]),
        has_mask=labels > 0,
        groups=("background", "calcification", "mass", "calcification", "mass"),
        statistics=(Statistics(None, 0.43, 0.18),),
    )


@dataclass(frozen=True)
class Bench:
    """One backbone on one sample set."""

    run: RunConfig
    training: TrainingConfig
    patches: SampleArrays
    first: Classifier
    inputs: Inputs
    folder: Path
    device: str

    @property
    def rows(self) -> tuple[list[int], list[int]]:
        return self.inputs.rows("train"), self.inputs.rows("validation")


def bench_of(
    backbone: str,
    size: int,
    batch: int,
    train: int,
    validation: int,
    folder: Path,
    device: str = "cpu",
    precision: Precision = "float32",
) -> Bench:
    """Random weights: no figure here depends on their values."""
    run = RunConfig.model_validate({"backbone": backbone, "strategy": "gradual", "batch_size": batch})
    training = TrainingConfig(weights="none", stopping=StoppingConfig(max_epochs=1), precision=precision)
    patches = patches_of(train, validation, size, size)
    inputs = Inputs(patches, "train", torch.device(device))
    return Bench(run, training, patches, first_model(run, training, patches), inputs, folder, device)


def build_cache(bench: Bench, clock: Callable[[], float]) -> tuple[float, float]:
    """(to build all three levels for all patches, to open them again) in a process that has not read them yet."""
    shutil.rmtree(bench.folder / "cache", ignore_errors=True)
    model = copy.deepcopy(bench.first).to(bench.device)
    cache = FeatureCache(bench.folder / "cache", bench.inputs)
    started = clock()
    cache.get(model, ("stem", "unit2", "pooled"))
    built = clock() - started
    feature_cache._digests.clear()
    started = clock()
    cache.get(model, ("stem", "unit2", "pooled"))
    return built, clock() - started


@dataclass(frozen=True)
class Trained:
    """steps: seconds of each step; seconds of one pass over the validation split; its loss, the network after all."""

    steps: list[float]
    validation: float
    loss: float
    network: Classifier


def train_phase(bench: Bench, phase: Phase, clock: Callable[[], float], epochs: int = 1) -> Trained:
    """Epochs of one phase from the first weights, by the pieces of which `fit` is made; the cache is there."""
    device = torch.device(bench.device)
    network = copy.deepcopy(bench.first).to(device).to(memory_format=torch.channels_last)
    step, scored, labels = step_of(bench, phase, network)
    train, validation = bench.rows
    marks = []
    for epoch in range(1, epochs + 1):
        set_modes(network, phase)
        with reproducible(device, bench.run.seed, epoch):
            for batch in batches(train, bench.run.batch_size, bench.run.seed, epoch):
                marks.append(clock())
                step(batch.to(device))
    marks.append(clock())
    network.eval()
    loss, *_ = validate(scored, labels, validation, bench.run.batch_size)
    return Trained([b - a for a, b in pairwise(marks)], clock() - marks[-1], loss, network)


def step_of(bench: Bench, phase: Phase, network: Classifier, mode: Mode | None = None) -> tuple[Step, Scored, Tensor]:
    """The step, the logits by patch positions, and all labels. mode: None as lesionlens does it."""
    device = torch.device(bench.device)
    mode = mode or ("graph" if device.type == "cuda" else "eager")
    source: Callable[[Tensor], Tensor] = bench.inputs
    if phase.level != "pixels":
        cache = FeatureCache(bench.folder / "cache", bench.inputs)
        source = cached(cache.get(network, (phase.level,))[phase.level], device)
    labels = torch.from_numpy(bench.patches.labels).to(device)
    groups = parameter_groups(network, phase, bench.run, bench.training.rates)
    optimizer = torch.optim.Adam(groups, fused=True, capturable=device.type == "cuda")

    logits: Callable[[Tensor], Tensor] = partial(network.from_level, phase.level)
    if mode == "compiled":
        how = {"mode": "reduce-overhead"} if device.type == "cuda" else {"backend": "eager"}
        logits = torch.compile(logits, dynamic=False, **how)  # type: ignore[call-overload]

    def scored(rows: Tensor) -> tuple[Tensor, None]:
        # a compiled forward pass, which is tried on the CPU alone, takes no convolutions of another make
        tried = mode == "compiled" and device.type == "cpu"
        with nullcontext() if tried else arithmetic(device, bench.training.precision):
            found = logits(source(rows))
        return found.to(torch.promote_types(found.dtype, torch.float32)), None

    set_modes(network, phase)
    plain = eager(scored, optimizer, labels)
    return (Graphed(plain, bench.run.batch_size, device) if mode == "graph" else plain), scored, labels


def checkpoint_seconds(bench: Bench, phase: Phase, clock: Callable[[], float]) -> float:
    """To write the checkpoint of an epoch of this phase."""
    network = copy.deepcopy(bench.first).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(parameter_groups(network, phase, bench.run, bench.training.rates), fused=True)
    set_modes(network, phase)
    cross_entropy(network(torch.zeros(2, 3, 32, 32)), torch.zeros(2, dtype=torch.int64)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    started = clock()
    position = Position(1, 1, Stopper())
    write_checkpoint(
        bench.folder / "run", Saved("x", "x", position, network.state_dict(), optimizer_tensors(optimizer))
    )
    return clock() - started


def fit_run(
    first: Classifier, run: RunConfig, training: TrainingConfig, patches: SampleArrays, folder: Path, cache: Path
) -> tuple[float, Checkpoint]:
    """A whole run as `fit` does it, from given weights: lowest loss of its last phase, and its best checkpoint."""
    with patch("lesionlens.training.fit.first_model", lambda *_: copy.deepcopy(first)):
        results = list(fit(run, training, patches, folder, cache, "cpu"))
    last = results[-1].phase
    return min(each.validation_loss for each in results if each.phase == last), results[-1].checkpoints[0]


def agreement(networks: Sequence[Classifier], inputs: Inputs, rows: Sequence[int]) -> float:
    """Share of patches for which both networks choose the same class."""
    with torch.no_grad():
        chosen = [network.cpu().eval()(inputs(rows).cpu()).argmax(1) for network in networks]
    return float((chosen[0] == chosen[1]).double().mean())


CPU = time.process_time
