"""Weight randomisation: the steps, the similarity of maps, and the baseline of other patients."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from lesionlens.attribution.explain import Source, reference_maps
from lesionlens.audits import randomisation
from lesionlens.audits.randomisation import layers, randomisation_test
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.frames import FRAMES
from lesionlens.localization.maps import drawn_lesions
from lesionlens.models.backbones import build
from lesionlens.models.classifier import Classifier
from lesionlens.records import SampleArrays
from lesionlens.training.inputs import Inputs
from tests.unit.audits.repeated import more_of_the_same

CONFIG = EvaluationConfig(resamples=200)


def inputs_of(patches: SampleArrays) -> Inputs:
    return Inputs(patches, "train", torch.device("cpu"))


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


def test_maps_fall_to_the_baseline_as_weights_become_random(tiny_patches: Callable[..., SampleArrays]) -> None:
    model, inputs = bright_everywhere(), inputs_of(spots(tiny_patches(size=96)))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = drawn_lesions(inputs, 8, np.random.default_rng(0))
    done: list[int] = []
    frame = randomisation_test(model, build("resnet18", 5, 5), inputs, rows, CONFIG, seed=5, advance=done.append)
    assert done == [8] * (1 + len(layers(model)))
    assert frame.schema == FRAMES["randomisations"]
    assert frame["layer"].to_list()[:4] == ["other samples", "intact", "re-measured", "head"]
    assert frame["step"].to_list() == list(range(-1, frame.height - 1))
    assert frame.height == 3 + len(layers(model)) == 3 + 1 + 2 + 2 + 3
    baseline, intact, _, head, *_, last = frame.iter_rows(named=True)
    assert intact["ssim"] == pytest.approx(1) and intact["rank_correlation"] == pytest.approx(1, abs=1e-4)
    assert last["layer"] == "stem.conv1" and last["n"] == 8
    for name, low, high in (("ssim", "ssim_low", "ssim_high"), ("rank_correlation", "rank_low", "rank_high")):
        assert baseline[name] < head["ssim"] - 0.2 and head[name] > 0.9
        assert last[low] <= last[name] <= last[high] and last[low] <= baseline[name] and last[high] < head[low]
    assert frame["ssim"][1:].n_unique() == frame.height - 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.fixture
def head_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of randomisation, where a test needs no more."""
    monkeypatch.setattr(randomisation, "layers", lambda _model: [["head"]])


@pytest.mark.usefixtures("head_only")
def test_the_baseline_is_the_mean_over_neighbours_of_other_patients(tiny_patches: Callable[..., SampleArrays]) -> None:
    model, inputs = bright_everywhere(), inputs_of(spots(tiny_patches(size=96)))
    rows = drawn_lesions(inputs, 12, np.random.default_rng(0))
    grids = reference_maps(model, Source(inputs, rows), np.full(12, 4), CONFIG).reshape(12, -1)
    names = inputs.patches.patients[rows]
    pairs = [(n, n - 1) for n in range(12) if names[n] != names[n - 1]]
    expected = np.mean([spearmanr(grids[a], grids[b]).statistic for a, b in pairs])
    baseline = randomisation_test(model, build("resnet18", 5, 5), inputs, rows, CONFIG, 5, lambda _count: None).row(
        0, named=True
    )
    assert 4 < baseline["n"] == len(pairs) < 12 and baseline["rank_correlation"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.usefixtures("head_only")
def test_more_patches_of_the_same_patients_make_no_similarity_surer(tiny_patches: Callable[..., SampleArrays]) -> None:
    patches = spots(tiny_patches())
    few = drawn_lesions(inputs_of(patches), 6, np.random.default_rng(0))
    many = more_of_the_same(patches, few)
    again = [*few, *range(len(patches.ids), len(many.ids))]
    model = build("resnet18", 5, seed=1)
    once, thrice = (
        randomisation_test(model, build("resnet18", 5, 5), inputs_of(of), rows, CONFIG, 5, lambda _count: None).filter(
            layer="head"
        )
        for of, rows in ((patches, few), (many, again))
    )
    assert (once["n"][0], thrice["n"][0]) == (6, 18)
    for name in ("ssim", "rank"):
        ends = once.select(f"{name}_low", f"{name}_high").row(0)
        assert ends[0] < ends[1] and thrice.select(f"{name}_low", f"{name}_high").row(0) == pytest.approx(
            ends, abs=1e-4
        )


@pytest.mark.usefixtures("head_only")
def test_the_baseline_compares_other_patients_alone(tiny_patches: Callable[..., SampleArrays]) -> None:
    """Else a lone sample would be compared with itself, and neighbours of one patient with each other."""
    patches = tiny_patches()
    inputs = inputs_of(replace(patches, patients=np.where(patches.ids < 300, "one", "two")))
    lesions = drawn_lesions(inputs, 500, np.random.default_rng(0))
    rows = [*[row for row in lesions if patches.ids[row] < 300][:7], lesions[-1]]
    assert (patches.ids[rows] < 300).sum() == 7
    for chosen, pairs in ((rows, 2), (rows[:1], 0), (rows[:3], 0)):
        frame = randomisation_test(
            build("resnet18", 5, 1), build("resnet18", 5, 5), inputs, chosen, CONFIG, 5, lambda _count: None
        )
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
    assert (
        randomisation_test(build("resnet18", 5, 0), build("resnet18", 5, 5), inputs, [], CONFIG, 0, print).height == 0
    )
