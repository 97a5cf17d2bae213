"""The study's recipe as people write it: PyTorch Lightning, `requires_grad` off on the first half.

Every layer runs forward in every step. Early stopping and checkpoints are Lightning's own. It starts from the same
weights as lesionlens, trains the same units at the same rates and takes the same batches in the same order, and it
keeps the frozen half in evaluation mode, so that both sides compute the same thing.
"""

import copy
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lesionlens.config.training import RunConfig, StoppingConfig, TrainingConfig
from lesionlens.models.classifier import BLOCKS, Classifier
from lesionlens.training.epochs import batches
from lesionlens.training.inputs import Inputs
from lesionlens.training.strategies import PHASES, Phase, parameter_groups

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning.*")
warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")


class Recipe(L.LightningModule):
    """One phase."""

    def __init__(self, network: Classifier, phase: Phase, run: RunConfig, training: TrainingConfig) -> None:
        super().__init__()
        self.network, self.phase, self.run, self.rule = network, phase, run, training.rates
        for name in BLOCKS:
            network.get_submodule(name).requires_grad_(name in phase.blocks)
        self.train()  # Lightning leaves modules in the mode in which it finds them

    def train(self, mode: bool = True) -> "Recipe":
        """Frozen units stay in evaluation mode."""
        super().train(mode)
        for name in BLOCKS:
            if name not in self.phase.blocks:
                self.network.get_submodule(name).eval()
        return self

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        return cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        self.log("validation", cross_entropy(self.network(batch[0]), batch[1]), batch_size=len(batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameter_groups(self.network, self.phase, self.run, self.rule))


class Files(Dataset[tuple[Tensor, Tensor]]):
    """Patches as PNG files, decoded and normalised by the loader."""

    def __init__(self, folder: Path, inputs: Inputs) -> None:
        self.folder, self.labels = folder, torch.from_numpy(inputs.patches.labels)
        statistics = next(row for row in inputs.patches.statistics if row.label is None)
        self.mean, self.std = statistics.mean, statistics.std
        folder.mkdir(parents=True, exist_ok=True)
        for i, pixels in enumerate(inputs.patches.pixels):
            Image.fromarray(pixels).save(folder / f"{i}.png")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.folder / f"{index}.png") as file:
            grey = np.asarray(file, dtype=np.float32) / 255
        return torch.from_numpy((grey - self.mean) / self.std).expand(3, -1, -1), self.labels[index]


def in_memory(inputs: Inputs) -> Dataset[tuple[Tensor, ...]]:
    """All normalised patches as one tensor."""
    pixels = torch.cat([inputs([i]) for i in range(len(inputs))])
    return TensorDataset(pixels.cpu(), torch.from_numpy(inputs.patches.labels))


class Order:
    """The batches of lesionlens, epoch by epoch."""

    def __init__(self, rows: Sequence[int], run: RunConfig, epoch: int = 0) -> None:
        self.rows, self.run, self.epoch = rows, run, epoch

    def __len__(self) -> int:
        return len(batches(self.rows, self.run.batch_size, self.run.seed, 1))

    def __iter__(self) -> Iterator[list[int]]:
        self.epoch += 1
        yield from (batch.tolist() for batch in batches(self.rows, self.run.batch_size, self.run.seed, self.epoch))


@dataclass
class Marks(Callback):
    """Clock readings: at the start of every training batch, and around every validation."""

    clock: Callable[[], float]
    steps: list[float] = field(default_factory=list)
    validations: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def on_train_batch_start(self, *_: object) -> None:
        self.steps.append(self.clock())

    def on_validation_start(self, *_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.steps.append(self.clock())  # the end of the last step
        self.validations.append(-self.clock())

    def on_validation_end(self, trainer: L.Trainer, *_: object) -> None:
        self.validations[-1] += self.clock()
        self.losses.append(float(trainer.callback_metrics["validation"]))


def fit_phase(
    network: Classifier,
    phase: Phase,
    run: RunConfig,
    training: TrainingConfig,
    stopping: StoppingConfig,
    data: Dataset[tuple[Tensor, ...]],
    rows: tuple[Sequence[int], Sequence[int]],
    folder: Path,
    device: str = "cpu",
    workers: int = 0,
    clock: Callable[[], float] = time.process_time,
    epoch: int = 0,
) -> tuple[Marks, L.Trainer, ModelCheckpoint]:
    """Train one phase in place. rows: training and validation positions. epoch: those that went before."""
    order = Order(rows[0], run, epoch)
    pinned = device == "cuda"
    loader = DataLoader(data, batch_sampler=order, num_workers=workers, pin_memory=pinned)
    held_out = torch.utils.data.Subset(data, list(rows[1]))
    checking = DataLoader(held_out, batch_size=run.batch_size, num_workers=workers, pin_memory=pinned)
    marks = Marks(clock)
    kept = ModelCheckpoint(folder, monitor="validation", save_last=True)
    patience = EarlyStopping("validation", min_delta=stopping.min_delta, patience=stopping.patience)
    trainer = L.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if device == "cuda" or training.precision == "bfloat16" else "32-true",
        max_epochs=stopping.max_epochs,
        callbacks=[marks, kept, patience],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(Recipe(network, phase, run, training), loader, checking)
    return marks, trainer, kept


def fit_run(
    first: Classifier,
    run: RunConfig,
    training: TrainingConfig,
    data: Dataset[tuple[Tensor, ...]],
    rows: tuple[Sequence[int], Sequence[int]],
    folder: Path,
) -> tuple[float, Classifier]:
    """A whole run, phase after phase from the best checkpoint of the one before: lowest loss and network."""
    network, done, lowest = copy.deepcopy(first), 0, float("inf")
    for number, phase in enumerate(PHASES[run.strategy]):
        place = folder / str(number)
        marks, _, kept = fit_phase(network, phase, run, training, training.stopping, data, rows, place, epoch=done)
        saved = torch.load(kept.best_model_path, weights_only=True)["state_dict"]
        network.load_state_dict({key.removeprefix("network."): tensor for key, tensor in saved.items()})
        done, lowest = done + len(marks.losses), min(marks.losses)
    return lowest, network.eval()
