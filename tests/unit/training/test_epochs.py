"""A step as a CUDA graph: its bookkeeping with stand-ins for CUDA, and on a real device where there is one."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.errors import DivergedError
from lesionlens.records import SampleArrays
from lesionlens.training.epochs import WARM_UP, Graphed, batches, eager, reproducible, train_epoch
from lesionlens.training.fit import fit

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Counted:
    """A step that remembers its rows; `broken` makes it fail like a call that cannot be captured."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.capturing = self.broken = False

    def __call__(self, rows: Tensor) -> Tensor:
        if self.capturing and self.broken:
            raise RuntimeError("operation not permitted when stream is capturing")
        if not self.capturing:
            self.seen.append(rows.tolist())
        return rows.sum().float()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """CUDA's graphs and streams, played by Python: a replay runs the captured step on the static rows."""
    step = Counted()

    class Graph:
        def replay(self) -> None:
            step.seen.append(["replayed", *graphed[0].rows.tolist()])  # type: ignore[list-item]
            graphed[0].loss.copy_(graphed[0].rows.sum())

    graphed: list[Any] = []
    made = Graphed.__init__

    def remember(self: Graphed, *given: Any) -> None:
        made(self, *given)
        graphed.append(self)

    @contextmanager
    def capture(graph: Graph, **options: object) -> Iterator[None]:
        assert options["capture_error_mode"] == "thread_local"
        step.capturing = True
        try:
            yield
        finally:
            step.capturing = False

    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(Graphed, "__init__", remember)
    for name, value in (
        ("Stream", lambda device: stream),
        ("current_stream", lambda: stream),
        ("stream", lambda chosen: nullcontext()),
        ("CUDAGraph", Graph),
        ("graph", capture),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    return step


def test_every_batch_is_one_step_whether_warming_up_replayed_or_ragged(stand_in: Counted) -> None:
    step = Graphed(stand_in, 2, CPU)
    batches = [torch.tensor([i, i + 1]) for i in range(WARM_UP + 2)]
    losses = [float(step(batch)) for batch in batches[:-1]]
    ragged = float(step(torch.tensor([7])))
    losses.append(float(step(batches[-1])))
    assert losses == [2 * i + 1 for i in range(WARM_UP + 2)] and ragged == 7
    expected = [batch.tolist() for batch in batches]
    eagerly, replayed = expected[:WARM_UP], [["replayed", *each] for each in expected[WARM_UP:]]
    assert stand_in.seen == [*eagerly, replayed[0], [7], replayed[1]]


def test_without_a_graph_steps_run_as_they_are(stand_in: Counted, caplog: pytest.LogCaptureFixture) -> None:
    stand_in.broken = True
    step = Graphed(stand_in, 2, CPU)
    batches = [torch.tensor([i, i + 1]) for i in range(WARM_UP + 2)]
    with caplog.at_level(logging.WARNING):
        assert [float(step(batch)) for batch in batches] == [2 * i + 1 for i in range(WARM_UP + 2)]
    assert stand_in.seen == [batch.tolist() for batch in batches]
    assert caplog.text.count("no CUDA graph") == 1 and "stream is capturing" in caplog.text


def test_the_loss_is_read_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a number from a GPU waits for it."""
    reads: list[Tensor] = []
    for name in ("item", "tolist", "__float__", "__int__", "__bool__"):
        before = getattr(Tensor, name)
        monkeypatch.setattr(Tensor, name, lambda self, *a, before=before: reads.append(self) or before(self, *a))
    layer, features = nn.Linear(4, 3), torch.randn(20, 4)
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    step = eager(lambda rows: (layer(features[rows]), None), optimizer, torch.arange(20) % 3)
    loss = train_epoch(step, CPU, range(20), 4, seed=0, epoch=1)
    assert len(reads) == 1 and loss > 0


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("backbone", ["resnet18", "vgg11_bn"])
def test_a_gpu_trains_what_the_cpu_trains(
    backbone: str,
    tmp_path: Path,
    make_patches: Callable[..., SampleArrays],
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
) -> None:
    """Graphs, bfloat16 and all: the first losses agree to its precision; a graph changes nothing."""
    patches, run, training = make_patches(70, 16, size=64), make_run(backbone, batch_size=8), make_training(2)
    cpu, gpu = (
        list(fit(run, training, patches, tmp_path / name, tmp_path / "cache", name)) for name in ("cpu", "cuda")
    )
    for one, other in zip(cpu, gpu, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=0.1)
    again = list(fit(run, training, patches, tmp_path / "again", tmp_path / "cache", "cuda", gpu[1].checkpoints))
    assert [each.epoch for each in again] == [each.epoch for each in gpu[2:]]


@pytest.mark.gpu
@needs_gpu
def test_no_step_waits_for_the_gpu() -> None:
    device = torch.device("cuda")
    layer, features = nn.Linear(64, 5, device=device), torch.randn(200, 64, device=device)
    optimizer = torch.optim.Adam(layer.parameters(), fused=True, capturable=True)
    step = eager(lambda rows: (layer(features[rows]), None), optimizer, torch.arange(200, device=device) % 5)
    graphed, rows = Graphed(step, 16, device), torch.arange(16, device=device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(WARM_UP):
            step(rows)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    losses = [float(graphed(rows)) for _ in range(30)]
    assert graphed.graph is not None and losses[-1] < losses[0]


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_says_when_a_loss_is_not_finite(
    tmp_path: Path,
    make_patches: Callable[..., SampleArrays],
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
) -> None:
    patches = make_patches()
    spoiled = replace(patches, statistics=(replace(patches.statistics[0], mean=float("nan")),))
    with pytest.raises(DivergedError, match="training loss is nan"):
        next(fit(make_run("vgg16"), make_training(), spoiled, tmp_path, None, "cuda"))


def test_an_epoch_is_deterministic_and_pays_for_no_filled_memory() -> None:
    """torch fills what it has not written with NaN where algorithms are deterministic; both are as before after it."""
    how: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), how.fill_uninitialized_memory
    with pytest.raises(KeyError), reproducible(CPU, 0, 1):
        assert (torch.are_deterministic_algorithms_enabled(), how.fill_uninitialized_memory) == (True, False)
        raise KeyError
    assert (torch.are_deterministic_algorithms_enabled(), how.fill_uninitialized_memory) == before == (False, True)


def test_every_epoch_of_every_seed_has_an_order_of_its_own() -> None:
    orders = {key: torch.cat(batches(range(100, 140), 8, *key)).tolist() for key in ((0, 1), (0, 2), (1, 1))}
    assert all(sorted(order) == list(range(100, 140)) for order in orders.values())
    assert len({tuple(order) for order in (*orders.values(), range(100, 140))}) == 4
    assert torch.cat(batches(range(100, 140), 8, 0, 1)).tolist() == orders[0, 1]


@pytest.mark.parametrize(("count", "sizes"), [(16, [8, 8]), (18, [8, 8, 2]), (17, [8, 9]), (1, [1])])
def test_no_batch_is_one_sample_alone_where_another_can_take_it(count: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in batches(range(count), 8, 0, 1)] == sizes
