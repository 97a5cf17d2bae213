"""One epoch: the order of its patches, its steps, its validation, reproducible from seed and number."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lesionlens.identity import digest
from lesionlens.training.epochs import Source, Step


@dataclass(frozen=True, slots=True)
class Epoch:
    """Losses are means over patches; accuracy in [0, 1]."""

    train_loss: float
    validation_loss: float
    validation_accuracy: float


def epoch_seed(seed: int, epoch: int) -> int:
    """The random seed of one epoch of a run; any two differ."""
    return int(digest("epoch", seed, epoch)[:15], 16)


_turn = threading.Lock()


@contextmanager
def reproducible(device: torch.device, seed: int, epoch: int) -> Iterator[None]:
    """Random state from run seed and epoch, deterministic algorithms on the CPU; both put back afterwards.

    Both belong to the process: threads take turns, and runs that are to train side by side need processes.
    """
    with _turn, _state(device, seed, epoch):
        yield


@contextmanager
def _state(device: torch.device, seed: int, epoch: int) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(epoch_seed(seed, epoch))
        if device.type == "cpu":
            torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def batches(rows: Sequence[int], size: int, seed: int, epoch: int) -> list[Tensor]:
    """All rows once, shuffled by seed and epoch, in batches of `size`; the last may be smaller.

    A last batch of a single patch joins the one before: one patch has no batch statistics.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.tensor(rows)[torch.randperm(len(rows), generator=generator)]
    parts = list(torch.split(order, size))
    if len(parts) > 1 and len(parts[-1]) == 1 and size > 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def train_epoch(step: Step, device: torch.device, rows: Sequence[int], size: int, seed: int, epoch: int) -> float:
    """One pass over the training rows; returns the mean loss. The order goes to the device once, the loss comes back
    once: no step waits for a GPU.
    """
    total = torch.zeros((), dtype=torch.float64, device=device)
    parts = batches(rows, size, seed, epoch)
    for batch in torch.split(torch.cat(parts).to(device), [len(part) for part in parts]):
        total += step(batch).double() * len(batch)
    return float(total) / len(rows)


@torch.no_grad()
def validate(logits: Source, labels: Tensor, rows: Sequence[int], size: int) -> tuple[float, float]:
    """Mean loss and accuracy over the rows. labels int64 [patches] of the whole set, on the device."""
    loss = torch.zeros((), dtype=torch.float64, device=labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=labels.device)
    for batch in torch.split(torch.tensor(rows, device=labels.device), size):
        output, truth = logits(batch), labels[batch]
        loss += cross_entropy(output, truth, reduction="sum").double()
        correct += (output.argmax(1) == truth).sum()
    return float(loss) / len(rows), float(correct) / len(rows)
