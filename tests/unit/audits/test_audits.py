"""Erase test, shortcut audit and weight randomisation on models that are known to look, or not to."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from lesionlens.attribution.explain import grad_cam
from lesionlens.audits import randomisation
from lesionlens.audits.occlusion import OCCLUSIONS, Occlusions, occlusion_scores, occlusion_test, probabilities
from lesionlens.audits.randomisation import RANDOMISATIONS, drawn_lesions, layers, randomisation_test
from lesionlens.audits.shortcuts import SHORTCUTS, intensity, sharpness, shortcut_audit
from lesionlens.config import EvaluationConfig, Normalise, RunConfig
from lesionlens.models.classifier import Classifier
from lesionlens.models.registry import build
from lesionlens.records import SampleArrays, Statistics
from lesionlens.scoring.bootstrap import draw
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


def inputs_of(patches: SampleArrays, mode: Normalise = "train") -> Inputs:
    return Inputs(patches, mode, torch.device("cpu"))


def erased(model: nn.Module, patches: SampleArrays, mode: Normalise = "train") -> tuple[Occlusions, dict[str, dict]]:
    """The erase test on all patches, and its scores over all lesions by name."""
    inputs = inputs_of(patches, mode)
    whole = probabilities(model, inputs, range(len(patches.ids)))  # type: ignore[arg-type]
    found = occlusion_test(model, inputs, whole, np.random.default_rng(0))  # type: ignore[arg-type]
    correct = whole.argmax(axis=1) == patches.labels
    clusters = draw(patches.patients, 200, np.random.default_rng(0))
    scores = occlusion_scores(patches, correct, found, clusters, 0.95).filter(population="lesions", group_name="all")
    return found, {row["name"].removeprefix("occlusion_"): row for row in scores.iter_rows(named=True)}


def test_a_model_that_looks_at_the_lesion_needs_it(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = bright_lesions(tiny_patches())
    found, scores = erased(Looker((slice(3, None), slice(3, None))), patches)
    frame = found.frame(patches)
    assert frame.schema == OCCLUSIONS and frame["sample_id"].to_list() == patches.ids[patches.has_mask].tolist()
    roomy = frame.drop_nulls("control_occluded")
    assert scores["difference"]["n"] == roomy.height > 20 and set(frame["reason"]) <= {None, "no_room"}
    assert scores["lesion_drop"]["low"] > 0.2 and abs(scores["control_drop"]["value"]) < 0.02
    assert scores["difference"]["low"] > 0.2
    assert scores["difference"]["value"] == pytest.approx((roomy["control_occluded"] - roomy["lesion_occluded"]).mean())


def test_a_model_that_looks_at_a_marker_does_not(tiny_patches: Callable[..., SampleArrays]) -> None:
    _, scores = erased(Looker((slice(0, 3), slice(0, 3))), bright_lesions(tiny_patches()))
    assert abs(scores["lesion_drop"]["value"]) < 0.01 and abs(scores["difference"]["value"]) < 0.05


@pytest.mark.parametrize("mode", get_args(Normalise))
def test_erasing_changes_the_erased_pixels_alone(mode: Normalise, tiny_patches: Callable[..., SampleArrays]) -> None:
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


def test_lesions_without_room_for_a_control_are_listed_and_left_out(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()
    masks = np.where(patches.has_mask[:, None, None], True, patches.masks)
    found, scores = erased(build("resnet18", 5, 0), replace(patches, masks=masks))
    frame = found.frame(patches)
    assert set(frame["reason"]) == {"no_room"} and frame["control_occluded"].null_count() == frame.height
    assert (scores["difference"]["n"], scores["difference"]["value"]) == (0, None)
    assert scores["difference"]["reason"] == "no_samples"


def test_shortcuts_that_give_the_class_away_are_found(tiny_patches: Callable[..., SampleArrays]) -> None:
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


def test_more_patches_of_the_same_patients_make_no_regression_surer(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()
    many = more_of_the_same(patches, np.flatnonzero(patches.splits == "test").tolist())
    once, thrice = (shortcut_audit(of, None, CONFIG, seed=0) for of in (patches, many))
    assert (once["n"][0], thrice["n"][0]) == (20, 60) and (once["low"] < once["high"]).all()
    columns = ["accuracy", "low", "high"]
    np.testing.assert_allclose(thrice.select(columns).to_numpy(), once.select(columns).to_numpy(), atol=1e-12)


def test_one_class_leaves_nothing_to_predict_and_no_test_part_nothing_to_audit(
    tiny_patches: Callable[..., SampleArrays],
) -> None:
    patches = tiny_patches()
    frame = shortcut_audit(replace(patches, labels=np.zeros_like(patches.labels)), None, CONFIG, seed=0)
    assert frame.select("features", "accuracy", "high").rows() == [("majority", 1.0, 1.0)]
    assert 0.5 < frame["low"][0] < 1  # a few patients, all of one class, promise no certainty
    with pytest.raises(ValueError, match="it needs a training and a test split"):
        shortcut_audit(replace(patches, splits=np.full(len(patches.ids), "train")), None, CONFIG, seed=0)


def test_blur_lowers_sharpness_and_grey_levels_are_what_they_are() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 40, 40)).astype(np.uint8)
    blurred = np.repeat(np.repeat(noise[:, ::4, ::4], 4, axis=1), 4, axis=2)
    assert sharpness(blurred)[0, 0] < sharpness(noise)[0, 0]
    np.testing.assert_allclose(intensity(np.full((1, 8, 8), 7, np.uint8))[0], [7, 0, 7, 7, 7, 7, 7])


def spots(patches: SampleArrays) -> SampleArrays:
    """One bright square anywhere in each patch."""
    generator, size = np.random.default_rng(0), patches.pixels.shape[1]
    pixels = generator.integers(60, 120, patches.pixels.shape).astype(np.uint8)
    for patch in pixels:
        row, column = generator.integers(0, size - size // 4, 2)
        patch[row : row + size // 4, column : column + size // 4] = 220
    return replace(patches, pixels=pixels)


def bright_everywhere() -> Classifier:
    """A ResNet18 all of whose channels hold the brightness, so that its head alone cannot lose what was learnt."""
    model = build("resnet18", 5, seed=0)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d):
                module.weight.fill_(1 / module.weight[0].numel())
            if name.endswith("bn2"):
                module.weight.zero_()
        model.head.weight.zero_()
        model.head.weight[4] = 1
    return model


def test_maps_fall_to_chance_as_weights_become_random(tiny_patches: Callable[..., SampleArrays]) -> None:
    model, inputs = bright_everywhere(), inputs_of(spots(tiny_patches(size=96)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = drawn_lesions(inputs, 12, np.random.default_rng(0))
    done: list[int] = []
    frame = randomisation_test(model, RUN, inputs, rows, CONFIG, seed=5, advance=done.append)
    assert done == [12] * len(layers(model))
    assert frame.schema == pl.Schema(RANDOMISATIONS)
    assert frame["layer"].to_list()[:4] == ["other samples", "intact", "head", "unit1.1"]
    assert frame["step"].to_list() == list(range(-1, frame.height - 1))
    assert frame.height == 2 + len(layers(model)) == 2 + 1 + 2 + 2 + 3
    chance, intact, head, *_, last = frame.iter_rows(named=True)
    assert intact["ssim"] == pytest.approx(1) and intact["rank_correlation"] == pytest.approx(1, abs=1e-4)
    assert last["layer"] == "stem.conv1" and last["n"] == 12
    for name, low, high in (("ssim", "ssim_low", "ssim_high"), ("rank_correlation", "rank_low", "rank_high")):
        assert chance[name] < head["ssim"] - 0.2 and head[name] > 0.9
        assert last[low] <= last[name] <= last[high] and last[low] <= chance[name] and last[high] < head[low]
    assert frame["ssim"][1:].n_unique() == frame.height - 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.fixture
def head_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of randomisation, where a test needs no more."""
    monkeypatch.setattr(randomisation, "layers", lambda _model: [["head"]])


@pytest.mark.usefixtures("head_only")
def test_chance_is_the_mean_over_neighbours_of_other_patients(tiny_patches: Callable[..., SampleArrays]) -> None:
    model, inputs = bright_everywhere(), inputs_of(spots(tiny_patches(size=96)))
    rows = drawn_lesions(inputs, 12, np.random.default_rng(0))
    grids = grad_cam(model, inputs, rows, np.full(12, 4), "block").reshape(12, -1)
    names = inputs.patches.patients[rows]
    pairs = [(n, n - 1) for n in range(12) if names[n] != names[n - 1]]
    expected = np.mean([spearmanr(grids[a], grids[b]).statistic for a, b in pairs])
    chance = randomisation_test(model, RUN, inputs, rows, CONFIG, 5, lambda _count: None).row(0, named=True)
    assert 4 < chance["n"] == len(pairs) < 12 and chance["rank_correlation"] == pytest.approx(expected, abs=1e-4)


def more_of_the_same(patches: SampleArrays, rows: Sequence[int]) -> SampleArrays:
    """The patches, and those at `rows` twice more: of the same patients, under new ids."""
    at = np.concatenate([np.arange(len(patches.ids)), rows, rows]).astype(np.int64)
    names = ("pixels", "masks", "labels", "splits", "patients", "has_mask")
    return replace(patches, ids=np.arange(len(at)), **{name: getattr(patches, name)[at] for name in names})


@pytest.mark.usefixtures("head_only")
def test_more_patches_of_the_same_patients_make_no_similarity_surer(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = spots(tiny_patches())
    few = drawn_lesions(inputs_of(patches), 12, np.random.default_rng(0))
    many = more_of_the_same(patches, few)
    again = [*few, *range(len(patches.ids), len(many.ids))]
    model = build("resnet18", 5, seed=1)
    once, thrice = (
        randomisation_test(model, RUN, inputs_of(of), rows, CONFIG, 5, lambda _count: None).filter(layer="head")
        for of, rows in ((patches, few), (many, again))
    )
    assert (once["n"][0], thrice["n"][0]) == (12, 36)
    for name in ("ssim", "rank"):
        ends = once.select(f"{name}_low", f"{name}_high").row(0)
        assert ends[0] < ends[1] and thrice.select(f"{name}_low", f"{name}_high").row(0) == pytest.approx(
            ends, abs=1e-4
        )


@pytest.mark.usefixtures("head_only")
def test_the_level_of_chance_is_that_of_other_patients(tiny_patches: Callable[..., SampleArrays]) -> None:
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


def test_the_lesions_followed_are_test_samples_with_a_mask(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = tiny_patches()
    inputs = inputs_of(patches)
    rows = drawn_lesions(inputs, 5, np.random.default_rng(0))
    assert len(rows) == 5 and rows == sorted(rows) and patches.has_mask[rows].all()
    assert set(patches.splits[rows]) == {"test"}
    assert len(drawn_lesions(inputs, 500, np.random.default_rng(0))) == 16
    assert randomisation_test(build("resnet18", 5, 0), RUN, inputs, [], CONFIG, 0, print).height == 0
