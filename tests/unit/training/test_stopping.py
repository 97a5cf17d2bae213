"""Early stopping on scripted loss sequences."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionlens.config import StoppingConfig
from lesionlens.training.strategies import Stopper


def play(losses: list[float], patience: int = 3, min_delta: float = 0.01, max_epochs: int = 100) -> tuple[int, int]:
    """(epoch after which the phase ends, epoch of its best checkpoint), both from 1; 0 if it does not end."""
    config = StoppingConfig(patience=patience, min_delta=min_delta, max_epochs=max_epochs)
    stopper, best = Stopper(), 0
    for epoch, loss in enumerate(losses, start=1):
        after = stopper.after(loss, config)
        best = epoch if after.improved_on(stopper) else best
        stopper = after
        if stopper.done(config):
            return epoch, best
    return 0, best


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1.0, 2.0, 2.0, 2.0, 0.1], (4, 1)),  # the first epoch is the best
        ([1.0, 0.9, 0.8, 0.7, 0.6], (0, 5)),  # still improving
        ([1.0, 0.995, 0.992, 0.991], (4, 4)),  # below the least improvement: waits, but the lowest is kept
        ([1.0, 0.995, 0.992, 0.985, 2.0, 2.0, 2.0], (7, 4)),  # slow progress adds up to one improvement
        ([1.0, 2.0, 2.0, 0.5, 2.0, 2.0, 2.0], (7, 4)),  # waiting starts anew
        ([1.0, 1.0, 1.0, 1.0], (4, 1)),  # a tie keeps the earlier epoch
    ],
)
def test_scripted_losses(losses: list[float], expected: tuple[int, int]) -> None:
    assert play(losses) == expected


def test_what_counts_is_not_what_is_lowest() -> None:
    config, stopper = StoppingConfig(patience=3), Stopper()
    seen = []
    for loss in (1.0, 0.995, 0.98, 1.2):
        after = stopper.after(loss, config)
        seen.append((after.counted, after.improved_on(stopper)))
        stopper = after
    assert seen == [(True, True), (False, True), (True, True), (False, False)]
    assert not Stopper().counted


def test_improvement_of_exactly_the_least_counts() -> None:
    assert play([1.0, 0.75, 0.75, 0.75, 0.75], patience=3, min_delta=0.25) == (5, 2)


def test_without_a_least_improvement_a_tie_still_waits() -> None:
    assert play([1.0, 1.0, 1.0, 1.0], min_delta=0.0) == (4, 1)


def test_longest_phase() -> None:
    assert play([1.0, 0.5, 0.2, 0.1], max_epochs=3) == (3, 3)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_no_loss_that_cannot_be_compared(loss: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Stopper().after(loss, StoppingConfig())


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.integers(1, 8), st.floats(0, 1))
def test_best_is_the_lowest_and_the_end_is_due(losses: list[float], patience: int, min_delta: float) -> None:
    end, best = play(losses, patience, min_delta)
    seen = losses[:end] if end else losses
    assert best == seen.index(min(seen)) + 1
    if end:
        assert min(losses[end - patience : end]) >= min(losses[: end - patience]) - min_delta - 1e-9
