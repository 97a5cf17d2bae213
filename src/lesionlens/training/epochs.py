"""One epoch: the order of its patches, its steps, its validation, reproducible from seed and number."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lesionlens.identity import digest

Source = Callable[[Tensor], Tensor]
"""Patch positions int64 [n] -> what stands for those patches, on the device."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """Losses are means over patches; accuracy in [0, 1]."""

    train_loss: float
    validation_loss: float
    validation_accuracy: float


def epoch_seed(seed: int, epoch: int) -> int:
    """The random seed of one epoch of a run; any two differ."""
    return int(digest("epoch", seed, epoch)[:15], 16)


@contextmanager
def reproducible(device: torch.device, seed: int, epoch: int) -> Iterator[None]:
    """Random state from run seed and epoch, deterministic algorithms on the CPU; both put back afterwards."""
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


def train_epoch(
    logits: Source,
    optimizer: torch.optim.Optimizer,
    labels: Tensor,
    rows: Sequence[int],
    size: int,
    seed: int,
    epoch: int,
) -> float:
    """One pass over the training rows; returns the mean loss. labels int64 [patches] of the whole set."""
    total = torch.zeros((), dtype=torch.float64, device=labels.device)
    for batch in batches(rows, size, seed, epoch):
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(logits(batch), labels[batch.to(labels.device)])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach().double() * len(batch)  # read once an epoch: no waiting for a GPU at every step
    return float(total) / len(rows)


@torch.no_grad()
def validate(logits: Source, labels: Tensor, rows: Sequence[int], size: int) -> tuple[float, float]:
    """Mean loss and accuracy over the rows."""
    loss = torch.zeros((), dtype=torch.float64, device=labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=labels.device)
    for batch in torch.split(torch.tensor(rows), size):
        output, truth = logits(batch), labels[batch.to(labels.device)]
        loss += cross_entropy(output, truth, reduction="sum").double()
        correct += (output.argmax(1) == truth).sum()
    return float(loss) / len(rows), float(correct) / len(rows)
