"""Mean over flips, on networks whose answer to a flip is known."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lesionlens.audits.altered import altered_probabilities, over_flips
from lesionlens.training.inputs import Inputs
from tests.unit.arrays import bright_squares


class Corner(nn.Module):
    """Sure of the second class by how bright the upper left corner of the sample is."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x[:, 0, :8, :8].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(bright), bright, *[torch.full_like(bright, -9)] * 3], dim=1)


def corners(inputs: Inputs, rows: slice, columns: slice) -> np.ndarray:
    bright = inputs(range(len(inputs)))[:, 0, rows, columns].mean(dim=(1, 2))
    logits = torch.stack([torch.zeros_like(bright), bright, *[torch.full_like(bright, -9)] * 3], dim=1)
    return torch.softmax(logits.double(), dim=1).numpy()


def test_the_mean_is_over_the_four_flips_of_each_film() -> None:
    patches = bright_squares(20)
    inputs = Inputs(replace(patches, breasts=np.ones_like(patches.masks)), "train", torch.device("cpu"))
    side = inputs.patches.pixels.shape[1]
    whole = altered_probabilities(Corner(), inputs, np.arange(20), lambda part: inputs.patches.pixels[part])
    first, last = slice(0, 8), slice(side - 8, side)
    expected = np.mean([corners(inputs, r, c) for r in (first, last) for c in (first, last)], axis=0)
    np.testing.assert_allclose(over_flips(Corner(), inputs, whole), expected, atol=1e-6)
    assert np.abs(whole - expected).max() > 0.01
    lower = slice(side // 2 - 8, side // 2)  # flipped up and down the upper film shows its own lower edge
    upper = np.mean([corners(inputs, r, c) for r in (first, lower) for c in (first, last)], axis=0)
    np.testing.assert_allclose(over_flips(Corner(), inputs, whole, views=2), upper, atol=1e-6)


class Dot(nn.Module):
    """Sure of the second class by how bright one pixel is, off both diagonals."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x[:, 0, 1, 4]
        return torch.stack([torch.zeros_like(bright), bright, *[torch.full_like(bright, -9)] * 3], dim=1)


def test_a_patch_is_seen_in_its_eight_flips_and_quarter_turns() -> None:
    inputs = Inputs(bright_squares(20), "train", torch.device("cpu"))
    patches = inputs.patches
    noise = np.random.default_rng(0).integers(0, 256, patches.pixels.shape, dtype=np.uint8)
    inputs = Inputs(replace(patches, pixels=noise), "train", torch.device("cpu"))
    whole = altered_probabilities(Dot(), inputs, np.arange(20), lambda part: noise[part])
    last = noise.shape[1] - 1
    places = [(a, b) for r, c in ((1, 4), (4, 1)) for a in (r, last - r) for b in (c, last - c)]
    assert len(set(places)) == 8
    pixels = inputs(range(20))[:, 0]
    views = []
    for row, column in places:
        bright = pixels[:, row, column]
        logits = torch.stack([torch.zeros_like(bright), bright, *[torch.full_like(bright, -9)] * 3], dim=1)
        views.append(torch.softmax(logits.double(), dim=1).numpy())
    np.testing.assert_allclose(over_flips(Dot(), inputs, whole), np.mean(views, axis=0), atol=1e-6)
