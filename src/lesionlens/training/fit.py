"""One training run, as a generator of finished epochs that can be stopped and continued anywhere."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from upath import UPath

from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.errors import DivergedError, TrainingError
from lesionlens.models.arithmetic import arithmetic
from lesionlens.models.backbones import network
from lesionlens.models.classifier import Classifier, Level
from lesionlens.models.weights import Start, initial_model
from lesionlens.records import Checkpoint, EpochResult, SampleArrays
from lesionlens.training import checkpoints as files
from lesionlens.training.augment import as_mammogram, shown
from lesionlens.training.checkpoints import Position, Saved
from lesionlens.training.epochs import (
    Average,
    Epoch,
    Graphed,
    Scored,
    Step,
    class_weights,
    eager,
    reproducible,
    train_epoch,
    validate,
)
from lesionlens.training.feature_cache import FeatureCache
from lesionlens.training.guidance import guide
from lesionlens.training.inputs import Inputs, Source, cached, computed
from lesionlens.training.strategies import PHASES, Phase, Stopper, make_optimizer, set_modes, set_rates

log = logging.getLogger(__name__)


def choose_device(wanted: str) -> str:
    """cpu or cuda; `auto` takes cuda if there is a GPU. TrainingError where cuda is wanted and there is none."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise TrainingError("device cuda is wanted, but torch finds no CUDA device; choose auto or cpu")
    if wanted == "auto":
        return "cuda" if available else "cpu"
    return wanted


def fit(
    run: RunConfig,
    training: TrainingConfig,
    patches: SampleArrays,
    folder: UPath | Path,
    cache: Path | None,
    device: str,
    resume: tuple[Checkpoint, ...] = (),
    start: Start | None = None,
) -> Iterator[EpochResult]:
    """Train one run; yields after every epoch, when its checkpoints are safely on disk.

    folder: the run's own folder of checkpoints; cache: where frozen features are shared, None for no feature cache.
    resume: the run's checkpoints in the record. Training continues after the epoch of `last`; if that file is damaged,
    after the epoch of `best`; else from the beginning, and in each case ends in the same bits on the same machine's
    CPU, so epochs may be yielded again. Record what is yielded before asking for more: files that the last yielded
    result does not name are deleted then. A finished run yields nothing.
    start: reads the weights that `training.start` names; not called where training continues.

    Same configuration, seed, samples and machine: same bits on the CPU. Losses are means over samples.
    Raises TrainingError: DivergedError for a NaN or infinite loss, WeightsMissingError, CheckpointError and others for
    a full disk or a full GPU; ValueError if the training or the validation split is empty.
    """
    try:
        yield from Fit(run, training, patches, folder, cache, torch.device(choose_device(device)), start).epochs(resume)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"run {run.title} takes more memory than the GPU has free: {error}. Lower LESIONLENS_RUNS_PER_DEVICE, end "
            "what else uses the GPU or leave this batch size out, then run again"
        ) from error


def first_model(
    run: RunConfig, training: TrainingConfig, patches: SampleArrays, start: Start | None = None
) -> Classifier:
    """The network before its first epoch, in evaluation mode; made on the CPU, so the same on any device."""
    cpu = torch.device("cpu")
    inputs = Inputs(patches, training.normalise, cpu)
    with reproducible(cpu, run.seed, 0):
        return initial_model(run, training, len(patches.classes), inputs, inputs.rows("train"), start)


class Fit:
    """What stays the same through a run."""

    def __init__(
        self,
        run: RunConfig,
        training: TrainingConfig,
        patches: SampleArrays,
        folder: UPath | Path,
        cache: Path | None,
        device: torch.device,
        start: Start | None = None,
    ) -> None:
        self.run, self.training, self.folder, self.device = run, training, folder, device
        self.start = start
        self.identity = (files.configuration_of(run, training, patches.classes), patches.digest)
        self.patches = patches
        own = Inputs(patches, training.normalise, device)
        self.train_rows, self.validation_rows = own.rows("train"), own.rows("validation")
        for split, rows in (("train", self.train_rows), ("validation", self.validation_rows)):
            if not rows:
                raise ValueError(f"sample set {patches.digest[:12]} has no {split} samples: nothing to train with")
        self.seen = shown(patches, training.augment, run.seed)
        self.inputs = Inputs(self.seen.samples, training.normalise, device, self.seen.variants)
        self.labels = self.seen.labels.to(device)
        self.weights = None
        if training.balance == "class_weights":
            self.weights = class_weights(self.labels[self.train_rows], len(patches.classes))
        if training.stopping.monitor == "auc" and len(np.unique(patches.labels[self.validation_rows])) < 2:
            raise ValueError("training.stopping.monitor auc: the validation split has one class; monitor the loss")
        self.guide = guide(self.seen.samples, run.guidance, run.seed, device, self.seen.variants)
        views = 2 if training.top == "two_views" else 1
        self.changed = partial(as_mammogram, views=views) if training.augment == "mammogram" else None
        if self.changed is not None:
            log.warning("%s: samples are changed at random, so every layer runs in every step", run.title)
        uncached = cache is None or self.changed is not None
        self.features = None if cache is None or uncached else FeatureCache(cache, self.inputs)

    def epochs(self, resume: tuple[Checkpoint, ...]) -> Iterator[EpochResult]:
        saved, best = self._newest(resume)
        if saved is None:
            model = first_model(self.run, self.training, self.patches, self.start)
            position, moments, averaged = Position(1, 0, Stopper()), {}, {}
        else:
            model = network(self.run, self.training, len(self.patches.classes))
            model.load_state_dict(saved.model)
            position, moments, averaged = saved.position, saved.optimizer, saved.averaged
        model = model.to(self.device).to(memory_format=torch.channels_last)
        self._bound_features(model)
        phases = PHASES[self.run.strategy]
        while True:
            if not position.stopper.done(self.training.stopping):
                for result, reached in self._phase(model, position, moments, averaged, best):
                    best, position = result.checkpoints[0], reached
                    yield result
                    files.keep_only(self.folder, (kept.path for kept in result.checkpoints))
            if position.phase == len(phases) or best is None:
                return
            model.load_state_dict(files.read_checkpoint(self.folder, best).weights)
            following = position.stopper.following(self.training.stopping)
            if self._guides(phases[position.phase]) and not self._guides(phases[position.phase - 1]):
                following = Stopper()  # the loss of the phase before was another one
            position, moments, averaged = Position(position.phase + 1, position.epoch, following), {}, {}

    def _levels(self) -> list[Level]:
        """Where the run's phases start, but for pixels."""
        return [phase.level for phase in PHASES[self.run.strategy] if phase.level != "pixels"]

    def _bound_features(self, model: Classifier) -> None:
        if self.features is not None and self.seen.variants is not None:
            self.features = self.features.bounded(model, self._levels(), self.run.title)

    def _newest(self, resume: tuple[Checkpoint, ...]) -> tuple[Saved | None, Checkpoint | None]:
        """The newest state from which the run can go on, and its best checkpoint."""
        return files.newest(self.folder, resume, self.identity, self.run.title)

    def _phase(
        self,
        model: Classifier,
        position: Position,
        moments: dict[int, dict[str, Tensor]],
        averaged: dict[str, Tensor],
        best: Checkpoint | None,
    ) -> Iterator[tuple[EpochResult, Position]]:
        """The remaining epochs of one phase."""
        phase = PHASES[self.run.strategy][position.phase - 1]
        optimizer = make_optimizer(model, phase, self.run, self.training, self.device)
        if moments:
            files.restore_optimizer(optimizer, moments)
        train, validation = self._sources(model, phase, position)
        step, average = self._step(model, phase, optimizer, train), self._average(model, phase, averaged)
        while not position.stopper.done(self.training.stopping):
            started = time.monotonic()
            set_rates(optimizer, self.training, position.stopper.epochs + 1)
            epoch = self._epoch(model, phase, step, validation, position.epoch + 1, average)
            stopper = position.stopper.after(self._monitored(epoch), self.training.stopping)
            kept = average is not None or stopper.improved_on(position.stopper)
            position = Position(position.phase, position.epoch + 1, stopper)
            last = self._write(model, optimizer, position, average)
            best = replace(last, role="best") if kept or best is None else best
            yield (
                EpochResult(
                    phase=position.phase,
                    epoch=position.epoch,
                    train_loss=epoch.train_loss,
                    validation_loss=epoch.validation_loss,
                    validation_accuracy=epoch.validation_accuracy,
                    seconds=time.monotonic() - started,
                    rates={group["name"]: group["lr"] for group in optimizer.param_groups},
                    improved=stopper.counted,
                    checkpoints=(best, last),
                ),
                position,
            )

    def _monitored(self, epoch: Epoch) -> float:
        """What is to fall: validation loss, or what its AUC lacks to 1."""
        return epoch.validation_loss if self.training.stopping.monitor == "loss" else 1 - epoch.validation_auc

    def _sources(self, model: Classifier, phase: Phase, position: Position) -> tuple[Source, Source]:
        """What the trained blocks take for a sample, in training and in validation."""
        if self.features is None or phase.level == "pixels":
            plain = computed(model, phase.level, self.inputs)
            changed = self.changed
            return plain if changed is None else computed(model, phase.level, self.inputs, changed), plain
        with reproducible(self.device, self.run.seed, 0):
            # A run's first phase asks for what its later ones take, too: one pass over the samples for all.
            levels = self._levels() if position.phase == 1 else [phase.level]
            found = cached(self.features.get(model, levels)[phase.level], self.device)
        return found, found

    def _guides(self, phase: Phase) -> bool:
        """Whether guidance has something to train in this phase."""
        return self.guide is not None and "unit1" in phase.blocks

    def _scored(self, model: Classifier, phase: Phase, source: Source) -> Scored:
        def scored(rows: Tensor) -> tuple[Tensor, Tensor | None]:
            if self.guide is None or not self._guides(phase):
                with arithmetic(self.device, self.training.precision):
                    return model.from_level(phase.level, source(rows)).float(), None
            with arithmetic(self.device, self.training.precision):
                features = source(rows)
                for module in (*model.between(phase.level, "unit2"), model.unit1):
                    features = module(features)
                logits = model.head(model.pool(features)).float()
            return logits, self.guide.term(model.head.weight, features, self.labels[rows], rows)

        return scored

    def _step(self, model: Classifier, phase: Phase, optimizer: torch.optim.Optimizer, source: Source) -> Step:
        smoothing = self.training.label_smoothing
        step = eager(self._scored(model, phase, source), optimizer, self.labels, self.weights, smoothing)
        constant = self.features is not None and phase.level != "pixels" and self.training.schedule == "constant"
        return Graphed(step, self.run.batch_size, self.device) if constant and self.device.type == "cuda" else step

    def _average(self, model: Classifier, phase: Phase, state: dict[str, Tensor]) -> Average | None:
        """The average of the phase's blocks, as far as it was when the run stopped; None where none is kept."""
        if self.training.stopping.keep != "averaged":
            return None
        average = Average({name: block for name, block in model.blocks.items() if name in phase.blocks})
        if state:
            average.averaged.load_state_dict(state)
        return average

    def _epoch(
        self,
        model: Classifier,
        phase: Phase,
        step: Step,
        validation: Source,
        epoch: int,
        average: Average | None = None,
    ) -> Epoch:
        size, seed = self.run.batch_size, self.run.seed
        with reproducible(self.device, seed, epoch):
            set_modes(model, phase, size)
            step = step if average is None else average.after(step)
            rows = self.seen.rows(self.train_rows, seed, epoch)
            train_loss = train_epoch(step, self.device, rows, size, seed, epoch)
            model.eval()
            scored = self._scored(model, phase, validation)
            with nullcontext() if average is None else average.in_place():
                validation_loss, accuracy, auc = validate(scored, self.labels, self.validation_rows, size)
        for name, loss in (("training", train_loss), ("validation", validation_loss)):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"{name} loss is {loss} in epoch {epoch} of run {self.run.title}: training diverged. "
                    f"Choose lower rates than head {self.run.head_rate:g}, unit1 {self.run.unit1_rate:g}"
                )
        return Epoch(train_loss, validation_loss, accuracy, auc)

    def _write(
        self,
        model: Classifier,
        optimizer: torch.optim.Optimizer,
        position: Position,
        average: Average | None = None,
    ) -> Checkpoint:
        averaged = {} if average is None else average.averaged.state_dict()
        saved = Saved(*self.identity, position, model.state_dict(), files.optimizer_tensors(optimizer), averaged)
        name, sha256, size = files.write_checkpoint(self.folder, saved)
        return Checkpoint("last", position.phase, position.epoch, name, sha256, size)
