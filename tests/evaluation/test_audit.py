"""Erase test, shortcut audit and weight randomisation on models that are known to look, or not to."""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

from lesionlens.config import EvaluationConfig, Normalise, RunConfig
from lesionlens.evaluation.bootstrap import draw
from lesionlens.evaluation.erase import ERASURES, Erasures, erase_scores, erase_test, probabilities
from lesionlens.evaluation.randomisation import RANDOMISATIONS, drawn_lesions, layers, randomisation_test
from lesionlens.evaluation.shortcuts import SHORTCUTS, intensity, sharpness, shortcut_audit
from lesionlens.records import PatchArrays, Statistics
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


class CornerReader(nn.Module):
    """Says class 4 the surer, the brighter the patch's first nine pixels; sees nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, pixels: Tensor) -> Tensor:
        corner = pixels[:, 0, :3, :3].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(corner)] * 4 + [self.scale * corner], dim=1)


def inputs_of(patches: PatchArrays, mode: Normalise = "train") -> Inputs:
    return Inputs(patches, mode, torch.device("cpu"))


def erased(model: nn.Module, patches: PatchArrays, mode: Normalise = "train") -> tuple[Erasures, dict[str, dict]]:
    """The erase test on all patches, and its scores over all lesions by name."""
    inputs = inputs_of(patches, mode)
    whole = probabilities(model, inputs, range(len(patches.ids)))  # type: ignore[arg-type]
    found = erase_test(model, inputs, whole, np.random.default_rng(0))  # type: ignore[arg-type]
    correct = whole.argmax(axis=1) == patches.labels
    clusters = draw(patches.patients, 200, np.random.default_rng(0))
    scores = erase_scores(patches, correct, found, clusters, 0.95).filter(population="lesions", group_name="all")
    return found, {row["name"].removeprefix("erase_"): row for row in scores.iter_rows(named=True)}


def test_a_model_that_looks_at_the_lesion_needs_it(tiny_patches: Callable[..., PatchArrays]) -> None:
    patches = bright_lesions(tiny_patches())
    found, scores = erased(Looker((slice(3, None), slice(3, None))), patches)
    frame = found.frame(patches)
    assert frame.schema == ERASURES and frame["patch_id"].to_list() == patches.ids[patches.has_mask].tolist()
    roomy = frame.drop_nulls("control_erased")
    assert scores["difference"]["n"] == roomy.height > 20 and set(frame["reason"]) <= {None, "no_room"}
    assert scores["lesion_drop"]["low"] > 0.2 and abs(scores["control_drop"]["value"]) < 0.02
    assert scores["difference"]["low"] > 0.2
    assert scores["difference"]["value"] == pytest.approx((roomy["control_erased"] - roomy["lesion_erased"]).mean())


def test_a_model_that_looks_at_a_marker_does_not(tiny_patches: Callable[..., PatchArrays]) -> None:
    _, scores = erased(Looker((slice(0, 3), slice(0, 3))), bright_lesions(tiny_patches()))
    assert abs(scores["lesion_drop"]["value"]) < 0.01 and abs(scores["difference"]["value"]) < 0.05


@pytest.mark.parametrize("mode", get_args(Normalise))
def test_erasing_changes_the_erased_pixels_alone(mode: Normalise, tiny_patches: Callable[..., PatchArrays]) -> None:
    """A bright lesion has a share in its patch's mean and deviation; without it, the rest must still look the same."""
    patches = tiny_patches()
    masks = np.zeros_like(patches.masks)
    masks[patches.has_mask, 4:24, 4:24] = True  # where no control has room over the corner
    statistics = (Statistics(None, 0.4, 0.15), *(Statistics(code, 0.4, 0.15) for code in patches.classes))
    pixels = np.where(masks, 230, patches.pixels // 2 + 60).astype(np.uint8)
    pixels[:, :3, :3] = 140
    _, scores = erased(CornerReader(), replace(patches, pixels=pixels, masks=masks, statistics=statistics), mode)
    assert scores["difference"]["n"] == patches.has_mask.sum()
    for name in ("lesion_drop", "control_drop", "difference"):
        assert scores[name]["value"] == pytest.approx(0, abs=1e-6), name


def test_lesions_without_room_for_a_control_are_listed_and_left_out(tiny_patches: Callable[..., PatchArrays]) -> None:
    patches = tiny_patches()
    masks = np.where(patches.has_mask[:, None, None], True, patches.masks)
    found, scores = erased(build("resnet18", 5, 0), replace(patches, masks=masks))
    frame = found.frame(patches)
    assert set(frame["reason"]) == {"no_room"} and frame["control_erased"].null_count() == frame.height
    assert (scores["difference"]["n"], scores["difference"]["value"]) == (0, None)
    assert scores["difference"]["reason"] == "no_samples"


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


def test_one_class_leaves_nothing_to_predict_and_no_test_part_nothing_to_audit(
    tiny_patches: Callable[..., PatchArrays],
) -> None:
    patches = tiny_patches()
    frame = shortcut_audit(replace(patches, labels=np.zeros_like(patches.labels)), None, CONFIG, seed=0)
    assert frame.select("features", "accuracy").rows() == [("majority", 1.0)]
    with pytest.raises(ValueError, match="it needs a training and a test part"):
        shortcut_audit(replace(patches, parts=np.full(len(patches.ids), "train")), None, CONFIG, seed=0)


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
    rows = drawn_lesions(inputs, 8, np.random.default_rng(0))
    done: list[int] = []
    frame = randomisation_test(model, RUN, inputs, rows, CONFIG, seed=5, advance=done.append)
    assert done == [8] * len(layers(model))
    assert frame.schema == pl.Schema(RANDOMISATIONS)
    assert frame["layer"].to_list()[:4] == ["other samples", "intact", "head", "unit1.1"]
    assert frame["step"].to_list() == list(range(-1, frame.height - 1))
    assert frame.height == 2 + len(layers(model)) == 2 + 1 + 2 + 2 + 3
    intact = frame.row(1, named=True)
    assert intact["ssim"] == pytest.approx(1) and intact["rank_correlation"] == pytest.approx(1, abs=1e-4)
    last = frame.row(-1, named=True)
    assert last["layer"] == "stem.conv1" and (last["n"] == 0 or last["rank_high"] < 0.9)
    defined = frame.filter(pl.col("n") > 0)
    assert (defined["rank_low"] <= defined["rank_correlation"]).all() and (
        defined["ssim"] <= defined["ssim_high"]
    ).all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_level_of_chance_is_that_of_other_patients(tiny_patches: Callable[..., PatchArrays]) -> None:
    """Else a lone sample would be compared with itself, and neighbours of one patient with each other."""
    patches = tiny_patches()
    inputs = inputs_of(replace(patches, patients=np.where(patches.ids < 300, "one", "two")))
    rows = drawn_lesions(inputs, 8, np.random.default_rng(0))
    assert (patches.ids[rows] < 300).sum() == 7
    for chosen, pairs in ((rows, 2), (rows[:1], 0), (rows[:3], 0)):
        frame = randomisation_test(build("resnet18", 5, 1), RUN, inputs, chosen, CONFIG, 5, lambda _count: None)
        assert frame["layer"][0] == "other samples" and frame["n"][0] == pairs and frame["n"][1] == len(chosen)
        assert (frame["ssim"][0] is None) == (pairs == 0)


def test_every_weight_becomes_random_once() -> None:
    for name in ("vgg11_bn", "resnet18", "resnet50", "efficientnet_b0"):
        model = build(name, 3, seed=0)
        steps = [name for step in layers(model) for name in step]
        random = {f"{step}.{key}" for step in steps for key in model.get_submodule(step).state_dict()}
        assert random == set(model.state_dict()) and len(steps) == len(set(steps))
        assert layers(model)[0] == ["head"] and layers(model)[-1][-1].startswith("stem.")


def test_the_lesions_followed_are_test_samples_with_a_mask(tiny_patches: Callable[..., PatchArrays]) -> None:
    patches = tiny_patches()
    inputs = inputs_of(patches)
    rows = drawn_lesions(inputs, 5, np.random.default_rng(0))
    assert len(rows) == 5 and rows == sorted(rows) and patches.has_mask[rows].all()
    assert set(patches.parts[rows]) == {"test"}
    assert len(drawn_lesions(inputs, 500, np.random.default_rng(0))) == 16
    assert randomisation_test(build("resnet18", 5, 0), RUN, inputs, [], CONFIG, 0, print).height == 0
