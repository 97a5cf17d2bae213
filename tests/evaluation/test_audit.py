"""Erase test, shortcut audit and weight randomisation on models that are known to look, or not to."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionlens.config import EvaluationConfig, RunConfig
from lesionlens.evaluation.erase import ERASURES, erase_test
from lesionlens.evaluation.randomisation import layers, randomisation_test
from lesionlens.evaluation.shortcuts import SHORTCUTS, intensity, sharpness, shortcut_audit
from lesionlens.records import PatchArrays
from lesionlens.training.backbones import build
from lesionlens.training.inputs import Inputs

CONFIG = EvaluationConfig(resamples=200)
RUN = RunConfig(backbone="resnet18", strategy="gradual")


class Looker(nn.Module):
    """Says class 4 the surer, the more bright pixels it sees inside `window`."""

    def __init__(self, window: tuple[slice, slice]) -> None:
        super().__init__()
        self.window = window
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, pixels: Tensor) -> Tensor:
        bright = (pixels[:, 0][(slice(None), *self.window)] > 0.65).float().mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(bright)] * 4 + [self.scale * (1 + 10 * bright)], dim=1)


def bright_lesions(patches: PatchArrays) -> PatchArrays:
    pixels = np.where(patches.masks, 230, 100).astype(np.uint8)
    pixels[:, :3, :3] = 230  # a marker in the corner of every patch
    return replace(patches, pixels=pixels)


def inputs_of(patches: PatchArrays) -> Inputs:
    return Inputs(patches, "train", torch.device("cpu"))


def test_a_model_that_looks_at_the_lesion_needs_it(tiny_patches: Callable[..., PatchArrays]) -> None:
    patches = bright_lesions(tiny_patches())
    found = erase_test(Looker((slice(3, None), slice(3, None))), inputs_of(patches), CONFIG, seed=0)  # type: ignore[arg-type]
    assert found.samples.schema == ERASURES
    assert found.samples["patch_id"].to_list() == patches.ids[(patches.parts == "test") & patches.has_mask].tolist()
    roomy = found.samples.drop_nulls("difference")
    assert found.n == roomy.height > 5 and set(found.samples["reason"]) <= {None, "no_room"}
    assert found.drop_lesion[1] > 0.2 and abs(found.drop_control[0]) < 0.02
    assert found.difference[1] > 0.2
    assert found.difference[0] == pytest.approx(roomy["difference"].mean())


def test_a_model_that_looks_at_a_marker_does_not(tiny_patches: Callable[..., PatchArrays]) -> None:
    patches = bright_lesions(tiny_patches())
    found = erase_test(Looker((slice(0, 3), slice(0, 3))), inputs_of(patches), CONFIG, seed=0)  # type: ignore[arg-type]
    assert abs(found.drop_lesion[0]) < 0.01 and abs(found.difference[0]) < 0.05


def test_lesions_without_room_for_a_control_are_listed_and_left_out(tiny_patches: Callable[..., PatchArrays]) -> None:
    patches = tiny_patches()
    masks = np.where(patches.has_mask[:, None, None], True, patches.masks)
    found = erase_test(build("resnet18", 5, 0), inputs_of(replace(patches, masks=masks)), CONFIG, seed=0)
    assert set(found.samples["reason"]) == {"no_room"} and found.n == 0
    assert found.samples["difference"].null_count() == found.samples.height and np.isnan(found.difference).all()


def test_shortcuts_that_give_the_class_away_are_found(tiny_patches: Callable[..., PatchArrays]) -> None:
    patches = tiny_patches(count=300)
    generator = np.random.default_rng(0)
    windows = 100.0 * np.exp(generator.normal(0, 0.05, (300, 2))) * (1 + patches.labels)[:, None]
    noise = replace(patches, pixels=generator.integers(0, 256, patches.pixels.shape).astype(np.uint8))
    frame = shortcut_audit(noise, windows, CONFIG, seed=0)
    assert frame.schema == SHORTCUTS
    accuracy = dict(zip(frame["features"], frame["accuracy"], strict=True))
    assert list(accuracy) == ["majority", "size", "intensity", "sharpness", "all"]
    assert accuracy["size"] > 0.9 and accuracy["all"] > 0.7
    assert max(accuracy["intensity"], accuracy["sharpness"]) < 0.4
    assert "size" not in shortcut_audit(noise, None, CONFIG, seed=0)["features"]


def test_the_shortcut_audit_needs_two_classes(tiny_patches: Callable[..., PatchArrays]) -> None:
    patches = tiny_patches()
    with pytest.raises(ValueError, match="at least two classes"):
        shortcut_audit(replace(patches, labels=np.zeros_like(patches.labels)), None, CONFIG, seed=0)


def test_blur_lowers_sharpness_and_grey_levels_are_what_they_are() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 40, 40)).astype(np.uint8)
    blurred = np.repeat(np.repeat(noise[:, ::4, ::4], 4, axis=1), 4, axis=2)
    assert sharpness(blurred)[0, 0] < sharpness(noise)[0, 0]
    np.testing.assert_allclose(intensity(np.full((1, 8, 8), 7, np.uint8))[0], [7, 0, 7, 7, 7, 7, 7])


def test_maps_fall_to_chance_as_weights_become_random(tiny_patches: Callable[..., PatchArrays]) -> None:
    patches = tiny_patches()
    model = build("resnet18", 5, seed=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = inputs_of(patches)
    frame = randomisation_test(model, RUN, inputs, inputs.rows("test")[:8], CONFIG, seed=5)
    assert frame["layer"].to_list()[:4] == ["other samples", "intact", "head", "unit1.1"]
    assert frame.height == 2 + len(layers(model)) == 2 + 1 + 2 + 2 + 4
    intact = frame.row(1, named=True)
    assert intact["ssim"] == pytest.approx(1) and intact["rank_correlation"] == pytest.approx(1, abs=1e-4)
    last = frame.row(-1, named=True)
    assert last["layer"] == "stem.conv1" and (last["n"] == 0 or last["rank_correlation"] < 0.9)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
