"""One epoch: order of samples, training steps and validation, reproducible from the run's seed and its number."""

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics.functional.classification import binary_auroc

from lesionlens.identity import digest

Scored = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Sample positions int64 [n] on the device -> logits float32 [n, classes], and what is added to each sample's loss."""

Step = Callable[[Tensor], Tensor]
"""Sample positions int64 [n] on the device -> mean loss of the batch before the step; valid until the next step."""

DECAY = 0.99
"""Of averaged weights, per step."""
WARM_UP = 3
"""Training steps on a side stream before a capture, which CUDA graphs require."""

log = logging.getLogger(__name__)


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """What a sample of each class counts, float32 [classes]: one over the class's frequency among labels int64 [n] that
    are there, so that the mean over samples is 1; 1 for classes without any."""
    counts = torch.bincount(labels, minlength=classes).float()
    present = (counts > 0).sum()
    return torch.where(counts > 0, len(labels) / (present * counts.clamp(min=1)), torch.ones_like(counts))


def eager(
    scored: Scored,
    optimizer: torch.optim.Optimizer,
    labels: Tensor,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Step:
    """A training step without a CUDA graph. labels int64 [samples] of the whole set, weights float32 [classes] of their
    losses (None: all 1), both on the device. smoothing: proportion of a label that all classes share evenly."""

    def step(rows: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        logits, added = scored(rows)
        loss = cross_entropy(logits, labels[rows], weights, label_smoothing=smoothing)
        if added is not None:
            loss = loss + added.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


class Average:
    """Exponential average, over training steps, of the weights and buffers of the blocks that train."""

    def __init__(self, blocks: Mapping[str, nn.Module]) -> None:
        self.blocks = nn.ModuleDict(dict(blocks))
        self.averaged = AveragedModel(self.blocks, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)  # type: ignore[no-untyped-call]

    def after(self, step: Step) -> Step:
        """The step, after which the average is moved towards the weights; the first weights start it."""

        def averaging(rows: Tensor) -> Tensor:
            loss = step(rows)
            self.averaged.update_parameters(self.blocks)
            return loss

        return averaging

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averaged weights meanwhile."""
        own = {name: tensor.clone() for name, tensor in self.blocks.state_dict().items()}
        self.blocks.load_state_dict(self.averaged.module.state_dict())
        try:
            yield
        finally:
            self.blocks.load_state_dict(own)


class Graphed:
    """A training step as a CUDA graph, replayed for every batch of `size` samples; other batches run eagerly.

    All that the step reads must keep its address in GPU memory, and the optimiser must be capturable. If the capture
    fails, all steps run eagerly.
    """

    def __init__(self, step: Step, size: int, device: torch.device) -> None:
        self.step = step
        self.rows = torch.zeros(size, dtype=torch.int64, device=device)
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.warm = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.loss: Tensor | None = None
        self.failed = False

    def __call__(self, rows: Tensor) -> Tensor:
        if self.failed or len(rows) != len(self.rows):
            return self.step(rows)
        if self.warm < WARM_UP:
            self.warm += 1
            return self._aside(rows)
        if self.graph is None and not self._capture():
            return self.step(rows)
        assert self.graph is not None and self.loss is not None
        self.rows.copy_(rows)
        self.graph.replay()
        return self.loss

    def _aside(self, rows: Tensor) -> Tensor:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            loss = self.step(rows)
        torch.cuda.current_stream().wait_stream(self.stream)
        return loss

    def _capture(self) -> bool:
        """Record the step; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.loss = self.step(self.rows)
        except RuntimeError as error:
            log.warning("no CUDA graph of the training step (%s): every kernel is launched by itself", error)
            self.failed = True
            return False
        self.graph = graph
        return True


@dataclass(frozen=True, slots=True)
class Epoch:
    """Losses are means over samples; accuracy in [0, 1], AUC as `mean_auc`."""

    train_loss: float
    validation_loss: float
    validation_accuracy: float
    validation_auc: float


def epoch_seed(seed: int, epoch: int) -> int:
    """The random seed of one epoch of a run; any two differ."""
    return int(digest("epoch", seed, epoch)[:15], 16)


_turn = threading.Lock()


@contextmanager
def reproducible(device: torch.device, seed: int, epoch: int) -> Iterator[None]:
    """Random state from the run's seed and the epoch, deterministic algorithms on the CPU; both restored afterwards.

    Both are global to the process: threads take turns, so runs that should train in parallel need processes.
    """
    with _turn, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        how: Any = torch.utils.deterministic
        before = torch.are_deterministic_algorithms_enabled(), how.fill_uninitialized_memory
        torch.manual_seed(epoch_seed(seed, epoch))
        if device.type == "cpu":
            torch.use_deterministic_algorithms(True)
            how.fill_uninitialized_memory = False  # takes 3 to 6 % of a step, and nothing reads what it has not written
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            how.fill_uninitialized_memory = before[1]


def batches(rows: Sequence[int], size: int, seed: int, epoch: int) -> list[Tensor]:
    """All rows once, shuffled by seed and epoch, in batches of `size`; the last may be smaller.

    A last batch of one sample joins the one before: batch statistics need two.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.tensor(rows)[torch.randperm(len(rows), generator=generator)]
    parts = list(torch.split(order, size))
    if len(parts) > 1 and len(parts[-1]) == 1 and size > 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def train_epoch(step: Step, device: torch.device, rows: Sequence[int], size: int, seed: int, epoch: int) -> float:
    """One pass over the training rows; returns the mean loss.

    The order goes to the device once and the loss comes back once, so no step waits for a GPU.
    """
    total = torch.zeros((), dtype=torch.float64, device=device)
    parts = batches(rows, size, seed, epoch)
    for batch in torch.split(torch.cat(parts).to(device), [len(part) for part in parts]):
        total += step(batch).double() * len(batch)
    return float(total) / len(rows)


@torch.no_grad()
def validate(scored: Scored, labels: Tensor, rows: Sequence[int], size: int) -> tuple[float, float, float]:
    """Mean loss, accuracy and `mean_auc` over the rows. labels int64 [samples] of the whole set, on the device."""
    loss = torch.zeros((), dtype=torch.float64, device=labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=labels.device)
    outputs = []
    for batch in torch.split(torch.tensor(rows, device=labels.device), size):
        (output, added), truth = scored(batch), labels[batch]
        outputs.append(output)
        loss += cross_entropy(output, truth, reduction="sum").double()
        if added is not None:
            loss += added.sum().double()
        correct += (output.argmax(1) == truth).sum()
    auc = mean_auc(torch.cat(outputs), labels[torch.tensor(rows, device=labels.device)])
    return float(loss) / len(rows), float(correct) / len(rows), auc


def mean_auc(logits: Tensor, labels: Tensor) -> float:
    """Mean over classes of the AUC of each against the rest, from logits [n, classes] and labels int64 [n].

    Only classes that have samples, and samples of others beside them, count; NaN where there is none.
    """
    probabilities = torch.softmax(logits.double(), dim=1)
    sides = [labels == label for label in range(logits.shape[1])]
    areas = [
        float(binary_auroc(probabilities[:, label], side.long(), thresholds=None))
        for label, side in enumerate(sides)
        if side.any() and not side.all()
    ]
    return sum(areas) / len(areas) if areas else math.nan
