"""The optimiser of channels-last weights against torch's own."""

import copy

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from lesionlens.training.adam import make_adam
from lesionlens.training.checkpoints import optimizer_tensors

CPU = torch.device("cpu")


def network(layout: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 4, 1), nn.Flatten(), nn.Linear(36, 5))
    return layers.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    pixels = torch.randn(6, 8, 5, 5, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad(set_to_none=True)
    model(pixels).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_same_bits_as_torchs_fused_adam(layout: torch.memory_format) -> None:
    """Weights and moments, after a restored state, too, with two rates."""
    ours, theirs = network(layout), network(layout)
    first, second = (
        [{"params": list(model[0].parameters()), "lr": 1e-2}, {"params": list(model[1:].parameters()), "lr": 1e-3}]  # type: ignore[index]
        for model in (ours, theirs)
    )
    mine, torchs = make_adam(first, CPU, exact=False), torch.optim.Adam(second, fused=True)
    for number in range(6):
        step(ours, mine, number)
        step(theirs, torchs, number)
        if number == 2:
            mine.load_state_dict(copy.deepcopy(mine.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    moments, expected = optimizer_tensors(mine), optimizer_tensors(torchs)
    assert moments.keys() == expected.keys()
    for index, state in expected.items():
        for name, tensor in state.items():
            assert torch.equal(moments[index][name], tensor) and moments[index][name].stride() == tensor.stride()


def test_no_gradient_is_copied() -> None:
    model = network(torch.channels_last)
    optimizer = make_adam([{"params": list(model.parameters()), "lr": 1e-3}], CPU, exact=False)
    step(model, optimizer, 0)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        optimizer.step()
    called = {event.name for event in seen.events()}  # type: ignore[no-untyped-call, union-attr]
    assert "aten::_fused_adam_" in called and "aten::clone" not in called


def test_exact_is_the_plain_adam() -> None:
    optimizer = make_adam([{"params": [nn.Parameter(torch.ones(2))], "lr": 0.5}], CPU, exact=True)
    assert type(optimizer) is torch.optim.Adam and not optimizer.defaults["fused"]
