"""How long a grid takes on this machine and how many bytes it leaves, from rates measured in a second or two."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lesionlens.config.study import StudyConfig
from lesionlens.config.training import Backbone, Precision
from lesionlens.models.arithmetic import arithmetic
from lesionlens.models.backbones import build
from lesionlens.models.classifier import Classifier, Level
from lesionlens.training.augment import COPIES
from lesionlens.training.feature_cache import VARIANTS_BYTES
from lesionlens.training.strategies import PHASES, set_modes

BATCH, STEPS = 2, 8
PAYS = 0.9
"""Of the time of float32, which bfloat16 may take at most to be chosen."""
LEAST_SECONDS = 0.2
PASSES = 13.0
"""Passes through a network that the evaluation of a test sample is worth: maps, occlusions, deletions, swaps. Measured
on 214 samples of 96 px: ResNet18 13, VGG11 with batch norm 9."""
FLIPS = {"patch": 7, "image": 3, "breast": 3}
"""Passes that `evaluation.flips` adds, by unit."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one backbone: seconds per sample to reach a level, to train from a level, for a whole pass; bytes of its
    parameters, and of a sample's features by level.
    """

    reach: dict[Level, float]
    steps: dict[Level, float]
    whole: float
    parameter_bytes: int
    feature_bytes: dict[Level, int]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds from the fewest epochs that stopping allows to the most, and bytes: what stays, what is cached."""

    shortest: float
    longest: float
    checkpoint_bytes: int
    cache_bytes: int


def measure(backbone: Backbone, classes: int, shape: tuple[int, int], device: str) -> Rates:
    """Rates of a backbone on this device, with random samples of (height, width) pixels in batches of 2."""
    place = torch.device(device)
    model = build(backbone, classes, 0).to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = torch.rand(BATCH, 3, *shape, device=place)
    labels = torch.zeros(BATCH, dtype=torch.long, device=place)
    with torch.no_grad():
        values: dict[Level, Tensor] = {"stem": model.to_level("stem", pixels), "unit2": model.to_level("unit2", pixels)}
        reach = {level: seconds(lambda: model.to_level(level, pixels), place) for level in values}  # noqa: B023
        whole = seconds(lambda: model.logits(pixels), place)
    steps: dict[Level, float] = {"pooled": 0.0}
    for phase in PHASES["gradual"]:
        if phase.level in values:
            set_modes(model, phase)
            steps[phase.level] = seconds(lambda: _step(model, phase.level, values[phase.level], labels), place)  # noqa: B023
    stored = sum(tensor.nbytes for tensor in model.state_dict().values())
    sizes = {level: features.nbytes // BATCH for level, features in values.items()}
    return Rates(reach, steps, whole, stored, sizes)


def step_seconds(backbone: Backbone, size: int) -> dict[Precision, float]:
    """Least seconds of STEPS steps that train unit1 with 16 samples of `size` on the CPU, by precision, in turn."""
    model = build(backbone, 2, 0).to(memory_format=torch.channels_last)
    labels, pixels = torch.arange(16) % 2, torch.rand(16, 3, size, size).to(memory_format=torch.channels_last)
    with torch.no_grad():
        values = model.to_level("unit2", pixels)
    set_modes(model, PHASES["last_block"][0])
    return in_both(lambda: cross_entropy(model.from_level("unit2", values).float(), labels))


def in_both(loss: Callable[[], Tensor]) -> dict[Precision, float]:
    """Least seconds of STEPS losses and their gradients on the CPU, by precision of the loss, in turn."""
    found: dict[Precision, float] = {"float32": math.inf, "bfloat16": math.inf}
    for _ in range(STEPS):
        for wanted, least in found.items():
            started = time.perf_counter()
            with arithmetic(torch.device("cpu"), wanted):
                value = loss()
            value.backward()  # type: ignore[no-untyped-call]
            found[wanted] = min(least, time.perf_counter() - started)
    return found


def _step(model: nn.Module, level: Level, values: Tensor, labels: Tensor) -> None:
    assert isinstance(model, Classifier)
    cross_entropy(model.from_level(level, values), labels).backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)


def seconds(work: Callable[[], object], place: torch.device) -> float:
    """Seconds per sample of a batch, after one batch to warm up.

    On a CPU the processor time of one thread, shared among as many as torch uses: what else the machine does is not in
    it.
    """
    threads = torch.get_num_threads()
    clock = time.process_time if place.type == "cpu" else time.perf_counter
    torch.set_num_threads(1)
    try:
        work()
        started, rounds = clock(), 0
        while rounds == 0 or clock() - started < LEAST_SECONDS:
            work()
            if place.type == "cuda":
                torch.cuda.synchronize()
            rounds += 1
        taken = (clock() - started) / rounds / BATCH
    finally:
        torch.set_num_threads(threads)
    return taken / threads if place.type == "cpu" else taken


def estimate(study: StudyConfig, rates: dict[Backbone, Rates], train: int, validation: int, test: int) -> Estimate:
    """Time and bytes of a study's whole grid, with these numbers of samples.

    Every phase lasts from `patience` + 1 epochs to `max_epochs`, or that where weights are averaged, those of a
    case-based run as its schedule says; frozen blocks run once per backbone over samples and variants, or in every step
    where what they give is not stored.
    """
    stopping, augment = study.training.stopping, study.training.augment
    bounds = [min(stopping.patience + 1, stopping.max_epochs), stopping.max_epochs]
    if stopping.keep == "averaged":
        bounds = [stopping.max_epochs] * 2
    samples = train * (1 + COPIES.get(augment, 0)) + validation + test
    sizes = {name: samples * _of_levels(study, name, rate.feature_bytes, sum) for name, rate in rates.items()}
    if augment == "mammogram":
        sizes = dict.fromkeys(sizes, 0)
    elif augment in COPIES:
        sizes = {name: size if size <= VARIANTS_BYTES else 0 for name, size in sizes.items()}
    cached = {name: samples * _of_levels(study, name, rate.reach, max) for name, rate in rates.items() if sizes[name]}
    seconds = [sum(cached.values())] * 2
    stored = 0
    for run in study.grid.runs():
        rate = rates[run.backbone]
        epoch = sum(
            train * rate.steps[phase.level]
            + validation * rate.steps[phase.level] / 3
            + (0 if sizes[run.backbone] else (train + validation) * rate.reach.get(phase.level, rate.whole))
            for phase in PHASES[run.strategy]
        )
        fixed = test * rate.whole * (PASSES + FLIPS[study.unit] * study.evaluation.flips)
        passes = bounds
        if run.system == "detector":  # trained whole; a pass is the marks of a film, a validation also its losses
            epoch, fixed = train * rate.steps["stem"] + 2 * validation * rate.whole, (validation + test) * rate.whole
        if run.system == "prototype":  # other stages take stored values, next to nothing beside these
            joint = rate.steps["unit2" if run.strategy == "gradual" else "stem"]
            epoch = joint * (train + validation / 3)
            passes = [study.training.prototypes.rounds * study.training.prototypes.push_every] * 2
        seconds = [total + epochs * epoch + fixed for total, epochs in zip(seconds, passes, strict=True)]
        stored += rate.parameter_bytes
    return Estimate(seconds[0], seconds[1], stored, int(sum(sizes.values())))


def _of_levels(
    study: StudyConfig, backbone: Backbone, values: Mapping[Level, float], joined: Callable[[list[float]], float]
) -> float:
    """What the levels that the backbone's runs start from take together, of values by level."""
    runs = [run for run in study.grid.runs() if run.backbone == backbone]
    levels = {phase.level for run in runs for phase in PHASES[run.strategy]}
    return joined([value for level, value in values.items() if level in levels] or [0])
