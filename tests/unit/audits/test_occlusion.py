"""Occlusion test on models that are known to look at the lesion, or not to."""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionlens.audits.altered import altered_probabilities
from lesionlens.audits.occlusion import (
    VARIANTS,
    Occlusions,
    Variant,
    lesion_regions,
    occlusion_scores,
    occlusion_test,
    places_wanted,
)
from lesionlens.config.training import Normalise
from lesionlens.frames import FRAMES
from lesionlens.models.backbones import build
from lesionlens.records import SampleArrays, Statistics
from lesionlens.scoring.bootstrap import draw
from lesionlens.training.inputs import Inputs


class Looker(nn.Module):
    """Says class 4 the surer, the more bright pixels it sees inside `window`."""

    def __init__(self, window: tuple[slice, slice]) -> None:
        super().__init__()
        self.window = window
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, pixels: Tensor) -> Tensor:
        bright = (pixels[:, 0][(slice(None), *self.window)] > 0.65).float().mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(bright)] * 4 + [self.scale * (1 + 10 * bright)], dim=1)


def off_centre(patches: SampleArrays) -> SampleArrays:
    """Bright squares away from the middle and from the corner's marker, which every sample has."""
    masks, place = np.zeros_like(patches.masks), len(patches.masks[0]) // 2 + 4
    masks[patches.has_mask, place : place + 8, place : place + 8] = True
    pixels = np.where(masks, 230, 100).astype(np.uint8)
    pixels[:, :3, :3] = 230
    return replace(patches, pixels=pixels, masks=masks)


class CornerReader(nn.Module):
    """Says class 4 the surer, the brighter the patch's first nine pixels; sees nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, pixels: Tensor) -> Tensor:
        corner = pixels[:, 0, :3, :3].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(corner)] * 4 + [self.scale * corner], dim=1)


def occluded(
    model: nn.Module, patches: SampleArrays, mode: Normalise = "train", variant: Variant = "smooth"
) -> tuple[Occlusions, dict[str, dict]]:
    """The occlusion test on all patches, and its scores over all lesions by name."""
    inputs = Inputs(patches, mode, torch.device("cpu"))
    everywhere = np.arange(len(patches.ids))
    whole = altered_probabilities(model, inputs, everywhere, lambda part: patches.pixels[part])
    found = occlusion_test(
        model, inputs, lesion_regions(patches, VARIANTS[variant][1]), np.random.default_rng(0), variant
    )
    clusters = draw(patches.patients, 200, np.random.default_rng(0))
    scores = occlusion_scores(patches, whole, found, clusters, 0.95).filter(population="lesions", group_name="all")
    return found, {row["name"].removeprefix("occlusion_"): row for row in scores.iter_rows(named=True)}


def test_a_model_that_looks_at_the_lesion_needs_it(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = off_centre(tiny_patches())
    found, scores = occluded(Looker((slice(3, None), slice(3, None))), patches)
    frame = found.frame(patches)
    assert frame.schema == FRAMES["occlusions"]
    assert frame["sample_id"].to_list() == patches.ids[patches.has_mask].tolist()
    assert scores["difference"]["n"] == frame.height > 20 and set(frame["reason"]) == {None}
    assert set(frame["places"]) == {places_wanted(frame.height)}
    assert scores["lesion_drop"]["low"] > 0.03 and abs(scores["control_drop"]["value"]) < 0.02
    assert scores["difference"]["low"] > 0.03
    assert frame["lesion_change"].min() > 0.005 > frame["control_change"].max(), "grey changes stand beside the fall"


def test_a_model_that_looks_at_a_marker_does_not(tiny_patches: Callable[..., SampleArrays]) -> None:
    _, scores = occluded(Looker((slice(0, 3), slice(0, 3))), off_centre(tiny_patches()))
    assert abs(scores["lesion_drop"]["value"]) < 0.01 and abs(scores["difference"]["value"]) < 0.01


class RoughnessReader(nn.Module):
    """Says class 4 the surer, the rougher the middle is, whatever lies there; sees nothing else."""

    def forward(self, pixels: Tensor) -> Tensor:
        middle = pixels[:, 0, 20:, 20:]
        rough = (middle[:, :, 1:] - middle[:, :, :-1]).abs().mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(rough)] * 4 + [3 * rough], dim=1)


def test_a_model_that_reads_roughness_falls_where_it_is_filled_smoothly_and_not_with_texture(
    tiny_patches: Callable[..., SampleArrays],
) -> None:
    patches = tiny_patches()
    masks = np.zeros_like(patches.masks)
    masks[patches.has_mask, 22:36, 22:36] = True
    rough = np.random.default_rng(0).normal(120, 30, patches.pixels.shape).clip(0, 255).astype(np.uint8)
    patches = replace(patches, pixels=rough, masks=masks)
    whole = altered_probabilities(
        RoughnessReader(),
        Inputs(patches, "train", torch.device("cpu")),
        np.arange(len(rough)),
        lambda part: rough[part],
    )
    falls = {}
    for variant in ("smooth", "texture"):
        found, _ = occluded(RoughnessReader(), patches, variant=variant)
        falls[variant] = float(np.nanmean(whole[:, 4] - found.lesion[:, 4]))
    assert falls["smooth"] > 0.05 > 0.02 > falls["texture"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_keeps_all_classes(variant: Variant, tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = off_centre(tiny_patches())
    found, _ = occluded(Looker((slice(3, None), slice(3, None))), patches, variant=variant)
    assert found.lesion.shape == (len(patches.ids), len(patches.classes))
    np.testing.assert_allclose(found.lesion[patches.has_mask].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(found.lesion[~patches.has_mask]).all()
    reasons = set(found.frame(patches)["reason"])
    assert reasons == ({None} if variant == "smooth" else {"lesion_only"})


@pytest.mark.parametrize("mode", get_args(Normalise))
def test_only_the_filled_pixels_change(mode: Normalise, tiny_patches: Callable[..., SampleArrays]) -> None:
    """A bright lesion has a part in its patch's mean and deviation; without it, the rest must still look the same."""
    patches = off_centre(tiny_patches())
    statistics = (Statistics(None, 0.4, 0.15), *(Statistics(code, 0.4, 0.15) for code in patches.classes))
    pixels = np.where(patches.masks, 230, np.random.default_rng(0).integers(60, 190, patches.pixels.shape))
    pixels[:, :3, :3] = 140
    textured = replace(patches, pixels=pixels.astype(np.uint8), statistics=statistics)
    _, scores = occluded(CornerReader(), textured, mode)
    assert scores["difference"]["n"] == patches.has_mask.sum()
    for name in ("lesion_drop", "control_drop", "difference"):
        assert scores[name]["value"] == pytest.approx(0, abs=1e-6), name


def test_lesions_without_a_fair_control_are_listed_and_left_out(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()
    masks = np.where(patches.has_mask[:, None, None], True, patches.masks)
    found, scores = occluded(build("resnet18", 5, 0).eval(), replace(patches, masks=masks))
    frame = found.frame(patches)
    assert set(frame["reason"]) == {"no_fair_control"} and set(frame["places"]) == {0}
    assert frame["control_probabilities"].null_count() == frame.height
    assert (scores["difference"]["n"], scores["difference"]["value"]) == (0, None)
    assert scores["difference"]["reason"] == "no_samples"
