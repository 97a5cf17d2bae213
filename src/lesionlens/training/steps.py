"""One training step: forward, loss, backward, optimiser; on a GPU in mixed precision and as a CUDA graph.

A small batch keeps a GPU waiting for its next kernel: a step of ResNet50 launches hundreds. A graph launches all
of them at once. Nothing here waits for the GPU: losses stay there until the end of the epoch.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Source = Callable[[Tensor], Tensor]
"""Patch positions int64 [n] -> what stands for those patches, on the device."""

Step = Callable[[Tensor], Tensor]
"""Patch positions int64 [n] on the device -> mean loss of the batch before the step; read it before the next one."""

WARM_UP = 3
"""Steps on a side stream before a capture, as CUDA graphs ask for. They are steps like any other."""

log = logging.getLogger(__name__)


def precision(device: torch.device, exact: bool) -> AbstractContextManager[None]:
    """bfloat16 where a GPU computes, unless exactness is asked for; on the CPU it does not pay."""
    if device.type == "cuda" and not exact:
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def eager(logits: Source, optimizer: torch.optim.Optimizer, labels: Tensor) -> Step:
    """A step as Python calls it. labels int64 [patches] of the whole set, on the device."""

    def step(rows: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(logits(rows), labels[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


class Graphed:
    """The same step as a CUDA graph, replayed for every batch of `size` rows; other batches run eagerly.

    Everything the step reads must stay where it is in GPU memory, and the optimiser must be capturable. Where the
    capture fails, all steps run eagerly.
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
