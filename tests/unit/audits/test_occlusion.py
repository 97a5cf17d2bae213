"""Occlusion test: inpainting, control regions, and models that are known to look at the lesion, or not to."""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionlens.audits.occlusion import (
    Occlusions,
    control_region,
    inpainted,
    occlusion_scores,
    occlusion_test,
    probabilities,
)
from lesionlens.config import Normalise
from lesionlens.frames import FRAMES
from lesionlens.models.registry import build
from lesionlens.records import SampleArrays, Statistics
from lesionlens.scoring.bootstrap import draw
from lesionlens.training.inputs import Inputs

FLAT = np.full((48, 48), 100, dtype=np.uint8)


def disc(size: int, row: int, column: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


@pytest.mark.parametrize("size", [32, 33, 47])
def test_a_bright_lesion_on_a_ramp_becomes_the_ramp(size: int) -> None:
    ramp = np.broadcast_to(np.linspace(40, 160, size), (size, size)).round().astype(np.uint8)
    region = disc(size, size // 2, size // 2, 7)
    bright = np.where(region, 255, ramp).astype(np.uint8)
    filled = inpainted(bright[None], region[None])[0]
    np.testing.assert_array_equal(filled[~region], ramp[~region])
    assert np.abs(filled[region].astype(int) - ramp[region]).mean() < 8
    assert filled.max() <= 165


def test_what_lies_under_the_region_does_not_show_through() -> None:
    generator = np.random.default_rng(0)
    one, region = generator.integers(0, 256, (1, 40, 40)).astype(np.uint8), disc(40, 12, 20, 9)[None]
    other = np.where(region, 255 - one, one)
    np.testing.assert_array_equal(inpainted(one, region), inpainted(other, region))


def test_no_region_changes_nothing_and_a_whole_one_becomes_grey() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16)).astype(np.uint8)
    np.testing.assert_array_equal(inpainted(pixels, np.zeros((1, 16, 16), dtype=np.bool_)), pixels)
    assert set(inpainted(pixels, np.ones((1, 16, 16), dtype=np.bool_)).ravel()) == {128}


def test_the_control_has_the_lesions_shape_and_keeps_off_it() -> None:
    for seed in range(20):
        mask = disc(48, 10 + seed, 30, 6)
        region = control_region(mask, FLAT, np.random.default_rng(seed))
        assert region is not None and region.sum() == mask.sum()
        rows, columns = np.nonzero(region)
        lesion_rows, lesion_columns = np.nonzero(mask)
        gaps = np.maximum(np.abs(rows[:, None] - lesion_rows), np.abs(columns[:, None] - lesion_columns))
        assert gaps.min() > 2


def test_a_lesion_too_large_for_its_patch_has_no_control() -> None:
    small = FLAT[:32, :32]
    assert control_region(disc(32, 16, 16, 12), small, np.random.default_rng(0)) is None
    assert control_region(np.ones((32, 32), dtype=np.bool_), small, np.random.default_rng(0)) is None


def test_the_control_lies_in_tissue_not_in_the_air_beside_it() -> None:
    mask, pixels = disc(48, 12, 30, 6), FLAT.copy()
    pixels[:, :20] = 0  # air
    pixels[mask] = 220
    proportions = []
    for seed in range(40):
        region = control_region(mask, pixels, np.random.default_rng(seed))
        assert region is not None
        proportions.append((pixels[region] > 0).mean())
    assert min(proportions) > 0.25 and np.mean(proportions) > 0.75
    around = np.where(disc(48, 12, 30, 7), pixels, 0).astype(np.uint8)  # tissue hugs the lesion; all else is air
    assert control_region(mask, around, np.random.default_rng(0)) is None


def test_where_all_is_black_the_control_lies_anywhere() -> None:
    assert control_region(disc(48, 12, 30, 6), FLAT * np.uint8(0), np.random.default_rng(0)) is not None


def test_the_same_generator_state_gives_the_same_control() -> None:
    mask = disc(48, 20, 20, 5)
    first, second = (control_region(mask, FLAT, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


class Looker(nn.Module):
    """Says class 4 the surer, the more bright pixels it sees inside `window`."""

    def __init__(self, window: tuple[slice, slice]) -> None:
        super().__init__()
        self.window = window
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, pixels: Tensor) -> Tensor:
        bright = (pixels[:, 0][(slice(None), *self.window)] > 0.65).float().mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(bright)] * 4 + [self.scale * (1 + 10 * bright)], dim=1)


def bright_lesions(patches: SampleArrays) -> SampleArrays:
    pixels = np.where(patches.masks, 230, 100).astype(np.uint8)
    pixels[:, :3, :3] = 230  # a marker in the corner of every patch
    return replace(patches, pixels=pixels)


class CornerReader(nn.Module):
    """Says class 4 the surer, the brighter the patch's first nine pixels; sees nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, pixels: Tensor) -> Tensor:
        corner = pixels[:, 0, :3, :3].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(corner)] * 4 + [self.scale * corner], dim=1)


def occluded(model: nn.Module, patches: SampleArrays, mode: Normalise = "train") -> tuple[Occlusions, dict[str, dict]]:
    """The occlusion test on all patches, and its scores over all lesions by name."""
    inputs = Inputs(patches, mode, torch.device("cpu"))
    whole = probabilities(model, inputs, range(len(patches.ids)))  # type: ignore[arg-type]
    found = occlusion_test(model, inputs, whole, np.random.default_rng(0))  # type: ignore[arg-type]
    correct = whole.argmax(axis=1) == patches.labels
    clusters = draw(patches.patients, 200, np.random.default_rng(0))
    scores = occlusion_scores(patches, correct, found, clusters, 0.95).filter(population="lesions", group_name="all")
    return found, {row["name"].removeprefix("occlusion_"): row for row in scores.iter_rows(named=True)}


def test_a_model_that_looks_at_the_lesion_needs_it(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = bright_lesions(tiny_patches())
    found, scores = occluded(Looker((slice(3, None), slice(3, None))), patches)
    frame = found.frame(patches)
    assert frame.schema == FRAMES["occlusions"]
    assert frame["sample_id"].to_list() == patches.ids[patches.has_mask].tolist()
    roomy = frame.drop_nulls("control_occluded")
    assert scores["difference"]["n"] == roomy.height > 20 and set(frame["reason"]) <= {None, "no_room"}
    assert scores["lesion_drop"]["low"] > 0.2 and abs(scores["control_drop"]["value"]) < 0.02
    assert scores["difference"]["low"] > 0.2
    assert scores["difference"]["value"] == pytest.approx((roomy["control_occluded"] - roomy["lesion_occluded"]).mean())


def test_a_model_that_looks_at_a_marker_does_not(tiny_patches: Callable[..., SampleArrays]) -> None:
    _, scores = occluded(Looker((slice(0, 3), slice(0, 3))), bright_lesions(tiny_patches()))
    assert abs(scores["lesion_drop"]["value"]) < 0.01 and abs(scores["difference"]["value"]) < 0.05


@pytest.mark.parametrize("mode", get_args(Normalise))
def test_only_the_inpainted_pixels_change(mode: Normalise, tiny_patches: Callable[..., SampleArrays]) -> None:
    """A bright lesion has a share in its patch's mean and deviation; without it, the rest must still look the same."""
    patches = tiny_patches()
    masks = np.zeros_like(patches.masks)
    masks[patches.has_mask, 4:24, 4:24] = True  # where no control has room over the corner
    statistics = (Statistics(None, 0.4, 0.15), *(Statistics(code, 0.4, 0.15) for code in patches.classes))
    pixels = np.where(masks, 230, patches.pixels // 2 + 60).astype(np.uint8)
    pixels[:, :3, :3] = 140
    _, scores = occluded(CornerReader(), replace(patches, pixels=pixels, masks=masks, statistics=statistics), mode)
    assert scores["difference"]["n"] == patches.has_mask.sum()
    for name in ("lesion_drop", "control_drop", "difference"):
        assert scores[name]["value"] == pytest.approx(0, abs=1e-6), name


def test_lesions_without_room_for_a_control_are_listed_and_left_out(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()
    masks = np.where(patches.has_mask[:, None, None], True, patches.masks)
    found, scores = occluded(build("resnet18", 5, 0), replace(patches, masks=masks))
    frame = found.frame(patches)
    assert set(frame["reason"]) == {"no_room"} and frame["control_occluded"].null_count() == frame.height
    assert (scores["difference"]["n"], scores["difference"]["value"]) == (0, None)
    assert scores["difference"]["reason"] == "no_samples"
