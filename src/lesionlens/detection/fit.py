"""One detector trained, as a generator of finished epochs that can be stopped and continued anywhere."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from upath import UPath

from lesionlens.config.training import Precision, RunConfig, TrainingConfig
from lesionlens.detection.augment import moved
from lesionlens.detection.froc import sensitivities
from lesionlens.detection.marks import Lesions, Marks
from lesionlens.detection.network import Detector, build_detector, freeze, on_blocks
from lesionlens.errors import CheckpointError, DivergedError
from lesionlens.identity import digest
from lesionlens.models.arithmetic import arithmetic
from lesionlens.models.weights import Start
from lesionlens.records import Checkpoint, EpochResult, SampleArrays
from lesionlens.training import checkpoints as files
from lesionlens.training.checkpoints import Position, Saved
from lesionlens.training.epochs import batches, reproducible
from lesionlens.training.estimate import BATCH as MEASURED
from lesionlens.training.estimate import Rates, in_both, seconds
from lesionlens.training.fit import choose_device, first_model
from lesionlens.training.inputs import Inputs
from lesionlens.training.strategies import Stopper

log = logging.getLogger(__name__)

Role = Literal["best", "last"]
ROLES: tuple[Role, ...] = ("last", "best")
BATCH = 8
"""Films in memory at once where nothing is trained."""


@dataclass(frozen=True, slots=True, eq=False)
class Films:
    """Whole images of all splits with the lesions on them, whose `film` is the position in `samples`."""

    samples: SampleArrays
    lesions: Lesions

    def targets(self, rows: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Boxes float32 [k, 4] and labels int64 [k] of the lesions on each film."""
        found = []
        for row in rows:
            at = self.lesions.film == row
            found.append((torch.from_numpy(self.lesions.boxes[at]).float(), torch.from_numpy(self.lesions.labels[at])))
        return found


def fit_detector(
    run: RunConfig,
    training: TrainingConfig,
    films: Films,
    folder: UPath | Path,
    device: str,
    resume: tuple[Checkpoint, ...] = (),
    start: Start | None = None,
) -> Iterator[EpochResult]:
    """Train one detector; yields after every epoch, when its checkpoints are safely on disk.

    Films without a lesion are negatives. The best epoch, and what `stopping` waits for, is that of the highest mean
    sensitivity at 0.25 to 4 false marks per film of the validation split (`validation_froc`); losses are means over
    films. New layers learn at `head_rate`, the blocks below at `unit1_rate`; the stem learns where it came without
    weights. folder, resume, start: as `training.fit.fit`.

    Same configuration, seed, films and machine: same bits on the CPU, resumed or not. Raises ValueError where the
    training or the validation split has no lesion; TrainingError as `training.fit.fit`.
    """
    yield from _Fit(run, training, films, folder, torch.device(choose_device(device)), start).epochs(resume)


def measure(run: RunConfig, training: TrainingConfig, classes: int, shape: tuple[int, int], device: str) -> Rates:
    """Rates of the run's detector on this device: `steps["stem"]` a training step and `whole` the marks, in seconds per
    film of (height, width) pixels with one lesion, in batches of 2."""
    place = torch.device(device)
    model, films, loss = _rehearsed(run, training, classes, shape, place)

    def step() -> None:
        with arithmetic(place, training.precision):
            found = loss()
        found.backward()  # type: ignore[no-untyped-call]
        model.zero_grad(set_to_none=True)

    trained = seconds(step, place)
    model.eval()
    stored = sum(tensor.nbytes for tensor in model.state_dict().values())
    return Rates({}, {"stem": trained}, seconds(lambda: model.marks(films), place), stored, {})


def step_seconds(run: RunConfig, training: TrainingConfig, shape: tuple[int, int]) -> dict[Precision, float]:
    """As `training.estimate.step_seconds`, of the run's detector on films of (height, width) pixels."""
    return in_both(_rehearsed(run, training, 2, shape, torch.device("cpu"))[2])


def _rehearsed(
    run: RunConfig, training: TrainingConfig, classes: int, shape: tuple[int, int], place: torch.device
) -> tuple[Detector, Tensor, Callable[[], Tensor]]:
    """The run's detector in training mode, random films with one lesion each, and the loss on them."""
    model = build_detector(run, training, classes).to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    films = torch.rand(MEASURED, 3, *shape, device=place)
    boxes = [torch.tensor([[0.25, 0.25, 0.5, 0.5]], device=place) * min(shape)] * MEASURED
    labels = [torch.zeros(1, dtype=torch.int64, device=place)] * MEASURED
    model.train()
    freeze(model, training)
    return model, films, lambda: model.losses(films, boxes, labels)


def load_detector(
    run: RunConfig,
    training: TrainingConfig,
    classes: Sequence[str],
    folder: UPath | Path,
    checkpoint: Checkpoint,
) -> Detector:
    """The run's detector as stored in the checkpoint, on the CPU, in evaluation mode.

    Raises CheckpointError if the file is missing, differs from the record, or belongs to another run.
    """
    saved = files.read_checkpoint(folder, checkpoint)
    if saved.configuration != identity(run, training, classes):
        raise CheckpointError(f"checkpoint {checkpoint.path} in {folder} was not made by run {run.title}")
    model = build_detector(run, training, len(classes))
    model.load_state_dict(saved.model)
    return model.eval()


def identity(run: RunConfig, training: TrainingConfig, classes: Sequence[str]) -> str:
    """Digest of all that a detector's run is, except its films."""
    return digest("detector", run, training, list(classes))


def detect(model: Detector, inputs: Inputs, rows: Sequence[int]) -> Marks:
    """Marks of a detector in evaluation mode on these films; `film` is the position in `rows`."""
    parts = []
    for start in range(0, len(rows), BATCH):
        found = model.marks(inputs(rows[start : start + BATCH]))
        parts.append((found.film + start, found.boxes, found.scores, found.labels))
    nothing = (np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    return Marks(*(np.concatenate(each) for each in zip(nothing, *parts, strict=True)))


class _Fit:
    """What stays the same through a run."""

    def __init__(
        self,
        run: RunConfig,
        training: TrainingConfig,
        films: Films,
        folder: UPath | Path,
        device: torch.device,
        start: Start | None,
    ) -> None:
        self.start = start
        self.run, self.training, self.films = run, training, films
        self.folder, self.device = folder, device
        samples = films.samples
        self.identity = (identity(run, training, samples.classes), samples.digest)
        self.inputs = Inputs(samples, training.normalise, device)
        self.train_rows, self.validation_rows = self.inputs.rows("train"), self.inputs.rows("validation")
        self.wanted = films.lesions.of_films(np.array(self.validation_rows, dtype=np.int64))
        for split, rows in (("train", self.train_rows), ("validation", self.validation_rows)):
            if not np.isin(films.lesions.film, rows).any():
                raise ValueError(f"no film of the {split} split shows a lesion: there is nothing to find")

    def epochs(self, resume: tuple[Checkpoint, ...]) -> Iterator[EpochResult]:
        known = {checkpoint.role: checkpoint for checkpoint in resume}
        best, saved = known.get("best"), self._newest(known)
        if saved is None:
            first, best = first_model(self.run, self.training, self.films.samples, self.start), None
            model = on_blocks(first, self.run, self.training, len(self.films.samples.classes))
            position = Position(1, 0, Stopper())
        else:
            model = build_detector(self.run, self.training, len(self.films.samples.classes))
            model.load_state_dict(saved.model)
            position = saved.position
        # first and read anew in one memory layout, by which convolutions choose their arithmetic
        model = model.to(self.device).to(memory_format=torch.channels_last)
        groups = self._groups(model)
        optimizer = torch.optim.AdamW(groups, fused=True)
        if saved is not None:
            files.restore_optimizer(optimizer, saved.optimizer)
        while not position.stopper.done(self.training.stopping):
            started = time.monotonic()
            train_loss, validation_loss, score = self._epoch(model, optimizer, position.epoch + 1)
            stopper = position.stopper.after(1 - score, self.training.stopping)
            highest = stopper.improved_on(position.stopper)
            position = Position(1, position.epoch + 1, stopper)
            last = self._write(model, optimizer, position)
            best = replace(last, role="best") if highest or best is None else best
            yield EpochResult(
                phase=1,
                epoch=position.epoch,
                train_loss=train_loss,
                validation_loss=validation_loss,
                validation_accuracy=None,
                validation_froc=score,
                seconds=time.monotonic() - started,
                rates={group["name"]: group["lr"] for group in optimizer.param_groups},
                improved=stopper.counted,
                checkpoints=(best, last),
            )
            files.keep_only(self.folder, (best.path, last.path))

    def _newest(self, known: Mapping[Role, Checkpoint]) -> Saved | None:
        """The newest readable state with the optimiser's moments: of `last`, else of `best`, else None."""
        for role in ROLES:
            if role not in known or "best" not in known:
                continue
            try:
                saved = files.read_checkpoint(self.folder, known[role])
            except CheckpointError as error:
                log.warning("%s: %s", self.run.title, error)
                continue
            if (saved.configuration, saved.patches) != self.identity:
                log.warning("%s: checkpoint %s belongs to another run or sample set", self.run.title, known[role].path)
            elif saved.optimizer:
                return saved
        return None

    def _groups(self, model: Detector) -> list[dict[str, object]]:
        """Optimiser groups; the stem is frozen where it came with weights."""
        body = {name: list(block.parameters()) for name, block in model.body.items()}
        if freeze(model, self.training):
            del body["stem"]
        below = {id(parameter) for parameter in model.body.parameters()}
        new = [parameter for parameter in model.parameters() if id(parameter) not in below]
        return [
            {"name": "head", "params": new, "lr": self.run.head_rate},
            *({"name": name, "params": found, "lr": self.run.unit1_rate} for name, found in reversed(body.items())),
        ]

    def _epoch(self, model: Detector, optimizer: torch.optim.Optimizer, epoch: int) -> tuple[float, float, float]:
        """Mean losses in training and validation, and the mean sensitivity of the validation split."""
        with reproducible(self.device, self.run.seed, epoch):
            model.train()
            train_loss = self._trained(model, optimizer, epoch)
            validation_loss = self._validated(model)
            model.eval()
            with arithmetic(self.device, self.training.precision):
                marks = detect(model, self.inputs, self.validation_rows)
        for name, loss in (("training", train_loss), ("validation", validation_loss)):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"{name} loss is {loss} in epoch {epoch} of run {self.run.title}: training diverged. "
                    f"Choose lower rates than head {self.run.head_rate:g}, unit1 {self.run.unit1_rate:g}"
                )
        shown = marks.where(marks.strongest())
        return train_loss, validation_loss, float(sensitivities(shown, self.wanted, len(self.validation_rows)).mean())

    def _trained(self, model: Detector, optimizer: torch.optim.Optimizer, epoch: int) -> float:
        total = 0.0
        for rows in batches(self.train_rows, self.run.batch_size, self.run.seed, epoch):
            shown = list(zip(self.inputs(rows), self.films.targets(rows.tolist()), strict=True))
            if self.training.augment != "none":
                shown = [(film, (boxes, labels)) for film, boxes, labels in (moved(f, *t) for f, t in shown)]
            optimizer.zero_grad(set_to_none=True)
            loss = self._loss(model, shown)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(shown)
        return total / len(self.train_rows)

    @torch.no_grad()
    def _validated(self, model: Detector) -> float:
        """torchvision gives losses in training mode alone; the blocks, whose statistics it would move, are left out."""
        model.train()
        model.body.eval()
        total = 0.0
        for start in range(0, len(self.validation_rows), BATCH):
            rows = self.validation_rows[start : start + BATCH]
            shown = list(zip(self.inputs(rows), self.films.targets(rows), strict=True))
            total += float(self._loss(model, shown)) * len(rows)
        return total / len(self.validation_rows)

    def _loss(self, model: Detector, shown: list[tuple[Tensor, tuple[Tensor, Tensor]]]) -> Tensor:
        pixels = torch.stack([film for film, _ in shown])
        boxes = [found.to(self.device) for _, (found, _) in shown]
        labels = [found.to(self.device) for _, (_, found) in shown]
        if self.training.detector.one_class:
            labels = [torch.zeros_like(found) for found in labels]
        with arithmetic(self.device, self.training.precision):
            return model.losses(pixels, boxes, labels)

    def _write(self, model: Detector, optimizer: torch.optim.Optimizer, position: Position) -> Checkpoint:
        saved = Saved(*self.identity, position, model.state_dict(), files.optimizer_tensors(optimizer))
        name, sha256, size = files.write_checkpoint(self.folder, saved)
        return Checkpoint("last", position.phase, position.epoch, name, sha256, size)
