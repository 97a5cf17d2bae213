"""Deletion and insertion on a model that reads one region: maps there, elsewhere, at random."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionlens.audits.altered import altered_probabilities
from lesionlens.audits.faithfulness import STEPS, faithfulness, faithfulness_scores, ranks
from lesionlens.frames import FRAMES
from lesionlens.scoring.bootstrap import draw
from lesionlens.training.inputs import Inputs
from tests.unit.arrays import plain

SIZE, COUNT = 32, 40
WINDOW = (slice(8, 16), slice(8, 16))


class WindowReader(nn.Module):
    """Says class 1 the surer, the brighter the window; sees nothing else."""

    def forward(self, pixels: Tensor) -> Tensor:
        bright = pixels[:, 0][(slice(None), *WINDOW)].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(bright), 6 * (bright - 0.5)], dim=1)


class Deaf(nn.Module):
    """Says class 1 with the same probability of every picture."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.tensor([0.0, 1.0]).repeat(len(pixels), 1)


def inputs() -> Inputs:
    """A bright window in dark noise, one sample per patient."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(40, 90, (COUNT, SIZE, SIZE)).astype(np.uint8)
    pixels[(slice(None), *WINDOW)] += 150
    return Inputs(plain(pixels), "train", torch.device("cpu"))


def drawn(seed: int) -> dict[str, np.ndarray]:
    return {"drawn": np.random.default_rng(seed).random((COUNT, 8, 8)).astype(np.float32)}


def maps() -> dict[str, np.ndarray]:
    there = np.zeros((COUNT, SIZE, SIZE), dtype=np.float32)
    there[(slice(None), *WINDOW)] = 1
    return {"there": there, "opposite": -there}


def scores(model: nn.Module, given_maps: dict[str, np.ndarray], seed: int = 0) -> dict[tuple[str, str], dict]:
    """Rows by method and name."""
    given, rows = inputs(), np.arange(COUNT)
    whole = altered_probabilities(model, given, rows, lambda part: given.patches.pixels[part])
    found = faithfulness(model, given, rows, whole, given_maps, np.random.default_rng(seed))
    frame = faithfulness_scores(found, draw(given.patches.patients, 300, np.random.default_rng(2)), 0.95)
    assert frame.schema == FRAMES["run_scores"] and set(frame["population"]) == {"drawn_lesions"}
    return {(row["method"], row["name"]): row for row in frame.iter_rows(named=True)}


def test_only_the_map_of_what_the_model_reads_has_gains() -> None:
    found = scores(WindowReader(), maps())
    for name in ("deletion_gain", "insertion_gain"):
        assert found["there", name]["low"] > 0.1, name
        assert found["opposite", name]["high"] < 0, name
        assert found["there", name]["n"] == COUNT
    assert ("random", "deletion_gain") not in found
    assert found["there", "deletion_auc"]["value"] < found["random", "deletion_auc"]["value"]
    gain = found["there", "insertion_auc"]["value"] - found["random", "insertion_auc"]["value"]
    assert found["there", "insertion_gain"]["value"] == pytest.approx(gain)


def test_maps_drawn_at_random_have_no_gain() -> None:
    """Of 20 intervals that hold 0 in 95 %, fewer than 16 do with a probability of 0.003."""
    studies = [scores(WindowReader(), drawn(100 + seed), seed) for seed in range(20)]
    for name in ("deletion_gain", "insertion_gain"):
        rows = [study["drawn", name] for study in studies]
        assert sum(row["low"] <= 0 <= row["high"] for row in rows) >= 16, name
        assert abs(np.mean([row["value"] for row in rows])) < 0.02, name


def test_no_map_has_a_gain_of_a_model_that_reads_nothing() -> None:
    found = scores(Deaf(), maps() | drawn(1))
    said = 1 / (1 + np.exp(-1))
    for (_, name), row in found.items():
        assert row["value"] == pytest.approx(said if name.endswith("_auc") else 0, abs=1e-6)


class Counter(nn.Module):
    """Probability of class 1: how many pixels of the picture are what they were, a checkerboard of 0 and 1."""

    def forward(self, pixels: Tensor) -> Tensor:
        kept = ((pixels[:, 0] < 0.01) | (pixels[:, 0] > 0.99)).float().mean(dim=(1, 2)).clamp(1e-6, 1 - 1e-6)
        return torch.stack([torch.log(1 - kept), torch.log(kept)], dim=1)


def test_the_steps_are_the_proportions_that_are_filled_in_or_shown() -> None:
    """What is filled into a checkerboard is grey, so that the model says how much is left, whatever the map."""
    given = inputs()
    given.patches.pixels[:] = 255 * (np.indices((SIZE, SIZE)).sum(axis=0) % 2)
    whole = np.array([[0.0, 1.0]], dtype=np.float32)
    found = faithfulness(
        Counter(), given, np.array([3]), whole, {"there": maps()["there"][3:4]}, np.random.default_rng(0)
    )
    for curves in found.values():
        assert curves["deletion"] == pytest.approx([1 - np.mean(STEPS)], abs=0.05)
        assert curves["insertion"] == pytest.approx([np.mean(STEPS)], abs=0.05)


def test_no_rows_give_no_scores() -> None:
    given = inputs()
    none = np.zeros(0, dtype=np.int64)
    found = faithfulness(
        Deaf(),
        given,
        none,
        np.zeros((0, 2), dtype=np.float32),
        {"there": maps()["there"][:0]},
        np.random.default_rng(0),
    )
    frame = faithfulness_scores(found, draw(np.zeros(0, dtype=np.str_), 10, np.random.default_rng(0)), 0.95)
    assert found == {} and frame.is_empty() and frame.schema == FRAMES["run_scores"]


def test_ranks_are_the_proportion_of_pixels_above_and_hold_a_tenth_each() -> None:
    drawn = np.random.default_rng(0).random((3, 10, 10)).astype(np.float32)
    found = ranks(drawn)
    assert ((found < 0.1).sum(axis=(1, 2)) == 10).all() and (
        np.sort(found.reshape(3, -1)) == np.arange(100) / 100
    ).all()
    assert (drawn.reshape(3, -1).argmax(axis=1) == found.reshape(3, -1).argmin(axis=1)).all()
    blank = ranks(np.zeros((1, 4, 4), dtype=np.float32))
    assert sorted(blank.ravel()) == (np.arange(16) / 16).tolist()
