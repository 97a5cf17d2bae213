"""Mean over flips, on networks whose answer to a flip is known; altered films by what is stored of intact ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionlens.attribution.closed_form import fast
from lesionlens.audits.altered import altered_probabilities, changed_features, intact_films, over_flips, reach, taken
from lesionlens.config.training import Top
from lesionlens.models.backbones import build
from lesionlens.models.classifier import Level
from lesionlens.training.feature_cache import FeatureCache, Stored
from lesionlens.training.inputs import Inputs
from tests.unit.arrays import bright_squares

pytestmark = pytest.mark.usefixtures("thin")


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


def films(height: int, width: int) -> Inputs:
    """Four films of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, height, width), dtype=np.uint8)
    samples = taken(bright_squares(20), np.arange(4), pixels)
    breasts = np.ones((4, height // 4, width // 4), dtype=np.bool_)
    return Inputs(replace(samples, breasts=breasts), "train", torch.device("cpu"))


CORNER, FAR_CORNER, INSIDE, EDGE = (0, 0), (351, 330), (150, 170), (200, 0)


@pytest.mark.parametrize(
    ("backbone", "level", "top", "spot"),
    [
        ("vgg16", "unit2", "none", INSIDE), ("vgg11_bn", "unit2", "vgg", FAR_CORNER),
        ("vgg11_bn", "stem", "none", EDGE),
        ("resnet18", "stem", "none", CORNER), ("resnet18", "stem", "none", FAR_CORNER),
        ("resnet50", "stem", "residual", INSIDE), ("resnet18", "stem", "two_views", CORNER),
        ("vgg11_bn", "unit2", "two_views", FAR_CORNER),
    ],
)  # fmt: skip
def test_a_window_gives_what_the_whole_film_gives(
    backbone: str, level: Level, top: Top, spot: tuple[int, int], tmp_path: Path
) -> None:
    """Small changes at borders and inside of films whose sides are no multiples of a stride; blocks fused and not."""
    inputs, rows = films(720 if top == "two_views" else 354, 333), np.array([3, 1])
    model, (y, x) = build(backbone, 5, 0, top=top), spot
    features = FeatureCache(tmp_path, inputs).get(model, (level,))[level]
    intact = intact_films(model, Stored(level, features), inputs, np.arange(4))
    assert intact is not None
    before = inputs.patches.pixels[rows]
    pictures = before.copy()
    pictures[:, y : y + 3, x : x + 3] ^= 255
    pixels = Inputs(taken(inputs.patches, rows, pictures), "train", inputs.device)(range(2))
    for asked in (model, fast(model, "block")):
        seen: list[int] = []
        handle = asked.stem.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0][0, 0].numel()))
        with torch.no_grad():
            whole = asked.to_level(level, pixels)
            found = [
                changed_features(asked, pixels[n : n + 1], (pictures != before)[n], rows[n], intact) for n in (0, 1)
            ]
        np.testing.assert_allclose(torch.cat(found), whole, atol=1e-5 * float(whole.max()))
        assert (whole - features[rows]).abs().max() > 0.001 * whole.max()
        assert len(seen) == 3 and max(seen[1:]) < pixels[0, 0].numel() / 2
        given = altered_probabilities(asked, inputs, rows, lambda part: pictures[part], intact)
        handle.remove()
        plain = altered_probabilities(asked, inputs, rows, lambda part: pictures[part])
        assert len(seen) == 5
        np.testing.assert_allclose(given, plain, atol=1e-4)


def test_what_reaches_everywhere_is_run_whole(tmp_path: Path) -> None:
    inputs = films(128, 96)
    stored = Stored("stem", torch.zeros(4, 1, 1, 1))
    assert intact_films(build("efficientnet_b0", 5, 0), stored, inputs, np.arange(4)) is None
    assert intact_films(build("resnet18", 5, 0), None, inputs, np.arange(4)) is None
    patches = Inputs(bright_squares(20), "train", torch.device("cpu"))
    assert intact_films(build("resnet18", 5, 0), stored, patches, np.arange(20)) is None
    model, rows = build("resnet18", 5, 0), np.array([2])
    intact = intact_films(model, FeatureCache(tmp_path, inputs).deepest(model), inputs, np.arange(4))

    def all_but_one(part: slice) -> np.ndarray:
        pictures = inputs.patches.pixels[rows[part]] ^ 255
        pictures[:, 60, 60] ^= 255
        return pictures

    whole = altered_probabilities(model, inputs, rows, all_but_one)
    np.testing.assert_allclose(altered_probabilities(model, inputs, rows, all_but_one, intact), whole, atol=1e-5)


@pytest.mark.parametrize(("backbone", "level"), [("vgg16", "stem"), ("vgg16", "unit2"), ("resnet18", "stem"),
                                                 ("resnet50", "unit2")])  # fmt: skip
def test_cells_depend_on_the_pixels_within_reach_alone(backbone: str, level: Level) -> None:
    """By gradients, where nothing hides one: the farthest pixels that have any."""
    model = build(backbone, 5, 0)
    found = reach(model.between("pixels", level))
    assert found is not None
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    pixels = torch.ones(1, 3, 640, 1 + found.stride).requires_grad_()
    cells = model.to_level(level, pixels)
    middle = cells.shape[2] // 2
    cells[0, :, middle].sum().backward()  # type: ignore[no-untyped-call]
    assert pixels.grad is not None
    lines = np.flatnonzero(pixels.grad.abs().sum(dim=(0, 1, 3)).numpy())
    assert (middle * found.stride - lines[0], lines[-1] - middle * found.stride) == (found.before, found.after)
