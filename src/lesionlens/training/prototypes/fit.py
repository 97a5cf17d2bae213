"""One run of a case-based model, as a generator of finished epochs that can be stopped and continued anywhere."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from upath import UPath

from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.errors import DivergedError
from lesionlens.models.backbones import network
from lesionlens.models.classifier import Classifier
from lesionlens.models.prototypes import layer_of
from lesionlens.models.weights import Start
from lesionlens.records import Checkpoint, EpochResult, SampleArrays
from lesionlens.training import checkpoints as files
from lesionlens.training.checkpoints import Position
from lesionlens.training.epochs import Epoch, Scored, eager, reproducible, train_epoch, validate
from lesionlens.training.fit import Fit, choose_device, first_model
from lesionlens.training.inputs import Inputs, Source, cached, computed
from lesionlens.training.prototypes.losses import added, annotations, other_weights
from lesionlens.training.prototypes.projection import prune, push
from lesionlens.training.prototypes.schedule import Stage, groups, joint_phase, stages
from lesionlens.training.strategies import Stopper, set_modes

Moments = dict[int, dict[str, Tensor]]


def fit_prototypes(
    run: RunConfig,
    training: TrainingConfig,
    patches: SampleArrays,
    folder: UPath | Path,
    cache: Path | None,
    device: str,
    resume: tuple[Checkpoint, ...] = (),
    start: Start | None = None,
) -> Iterator[EpochResult]:
    """As `fit`, for a run of the system prototype.

    Its best checkpoint is a state after a push and some epochs of the last layer, once there is one; at the end, the
    best of those after pruning. Validation losses are cross-entropies, training losses have all terms.
    """
    made = _PrototypeFit(run, training, patches, folder, cache, torch.device(choose_device(device)), start)
    yield from made.epochs(resume)


class _PrototypeFit(Fit):
    def epochs(self, resume: tuple[Checkpoint, ...]) -> Iterator[EpochResult]:
        self.plain = Inputs(self.patches, self.training.normalise, self.device)
        self.shown = torch.from_numpy(annotations(self.inputs.patches, self.training.prototypes)).to(self.device)
        saved, best = self._newest(resume)
        if saved is None:
            model = first_model(self.run, self.training, self.patches, self.start)
            position, moments = Position(1, 0, Stopper()), Moments()
        else:
            model = network(self.run, self.training, len(self.patches.classes))
            model.load_state_dict(saved.model)
            position, moments = saved.position, saved.optimizer
        model = model.to(self.device).to(memory_format=torch.channels_last)
        self._bound_features(model)
        course = stages(self.run, self.training.prototypes)
        while True:
            stage = course[position.phase - 1]
            if not position.stopper.epochs:
                self._begin(model, stage, best)
            for result, reached in self._stage(model, stage, position, moments, best):
                best, position = result.checkpoints[0], reached
                yield result
                files.keep_only(self.folder, (kept.path for kept in result.checkpoints))
            if position.phase == len(course):
                return
            following = Stopper(position.stopper.lowest)
            if course[position.phase].begins == "prune":
                following = Stopper()
            position, moments = Position(position.phase + 1, position.epoch, following), Moments()

    def _begin(self, model: Classifier, stage: Stage, best: Checkpoint | None) -> None:
        """What is done to the prototypes before a stage; the best state so far is the one that is pruned."""
        with reproducible(self.device, self.run.seed, 0):
            if stage.begins == "push":
                push(model, self.patches, self._outputs(model), self.train_rows)
            elif stage.begins == "prune":
                assert best is not None  # every round ends with one
                model.load_state_dict(files.read_checkpoint(self.folder, best).model)
                prune(model, self.patches, self._outputs(model), self.train_rows, self.training.prototypes)

    def _outputs(self, model: Classifier) -> Source:
        """What unit1 makes of training samples as they are, from the features of blocks that never train."""
        if self.features is None:
            return computed(model, "unit1", self.plain)
        level = joint_phase(self.run).level
        below = cached(self.features.get(model, [level])[level], self.device)

        def outputs(rows: Tensor) -> Tensor:
            features = below(rows)
            for module in model.between(level, "unit1"):
                features = module(features)
            return features

        return outputs

    def _stage(
        self, model: Classifier, stage: Stage, position: Position, moments: Moments, best: Checkpoint | None
    ) -> Iterator[tuple[EpochResult, Position]]:
        """The remaining epochs of a stage."""
        rates = groups(model, stage, self.run, self.training)
        optimizer = torch.optim.Adam(rates, fused=True)
        if moments:
            files.restore_optimizer(optimizer, moments)
        if position.stopper.epochs >= stage.epochs:
            return
        train, validation = self._level_sources(model, stage)
        step = eager(self._terms(model, stage, train, losses=True), optimizer, self.labels, self.weights)
        scored = self._terms(model, stage, validation, losses=False)
        while position.stopper.epochs < stage.epochs:
            started = time.monotonic()
            with reproducible(self.device, self.run.seed, position.epoch + 1):
                set_modes(model, stage.phase)
                rows, size = self.seen.rows(self.train_rows, self.run.seed, position.epoch + 1), self.run.batch_size
                loss = train_epoch(step, self.device, rows, size, self.run.seed, position.epoch + 1)
                model.eval()
                epoch = Epoch(loss, *validate(scored, self.labels, self.validation_rows, size))
            self._refuse_divergence(epoch, position.epoch + 1)
            stopper = replace(position.stopper, epochs=position.stopper.epochs + 1)
            lowest = stage.name == "last" and epoch.validation_loss < stopper.lowest
            if lowest:
                stopper = replace(stopper, lowest=epoch.validation_loss)
            position = Position(position.phase, position.epoch + 1, stopper)
            last = self._write(model, optimizer, position)
            if lowest or not math.isfinite(stopper.lowest) or best is None:
                best = replace(last, role="best")
            yield (
                EpochResult(
                    phase=position.phase,
                    epoch=position.epoch,
                    train_loss=epoch.train_loss,
                    validation_loss=epoch.validation_loss,
                    validation_accuracy=epoch.validation_accuracy,
                    seconds=time.monotonic() - started,
                    rates={group["name"]: group["lr"] for group in rates},
                    improved=lowest,
                    checkpoints=(best, last),
                ),
                position,
            )

    def _refuse_divergence(self, epoch: Epoch, number: int) -> None:
        for name, loss in (("training", epoch.train_loss), ("validation", epoch.validation_loss)):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"{name} loss is {loss} in epoch {number} of run {self.run.title}: training diverged. "
                    f"Choose lower rates than head {self.run.head_rate:g}, unit1 {self.run.unit1_rate:g}"
                )

    def _level_sources(self, model: Classifier, stage: Stage) -> tuple[Source, Source]:
        """What the trained blocks take for a sample, in training and in validation."""
        level = stage.phase.level
        if self.features is None:
            plain = computed(model, level, self.inputs)
            changed = self.changed
            return plain if changed is None else computed(model, level, self.inputs, changed), plain
        with reproducible(self.device, self.run.seed, 0):
            # the first stage asks for what the joint one takes, too: one pass over the samples for both
            levels = {level, joint_phase(self.run).level} if stage.name == "warm" else {level}
            found = cached(self.features.get(model, sorted(levels))[level], self.device)
        return found, found

    def _terms(self, model: Classifier, stage: Stage, source: Source, losses: bool) -> Scored:
        layer, config = layer_of(model), self.training.prototypes
        owners, kept = layer.owners, layer.kept

        def last(rows: Tensor) -> tuple[Tensor, Tensor | None]:
            logits = model.head(source(rows))
            term = other_weights(model.head.weight, owners)
            return logits, term.expand(len(rows)) if losses else None

        def whole(rows: Tensor) -> tuple[Tensor, Tensor | None]:
            features = source(rows)
            for module in model.between(stage.phase.level, "unit1"):
                features = module(features)
            distances = layer.distances(features)
            logits = model.head(layer.pooled(distances))
            if not losses:
                return logits, None
            return logits, added(distances, self.labels[rows], owners, kept, self.seen.masks(self.shown, rows), config)

        return last if stage.name == "last" else whole
