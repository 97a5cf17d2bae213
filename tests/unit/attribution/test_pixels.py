"""Attributions of pixels against what is known in closed form, and against captum with the same seed."""

import zlib

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, IntegratedGradients, KernelShap, Lime, NoiseTunnel, Occlusion, Saliency
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from lesionlens.attribution import perturbation
from lesionlens.attribution import pixels as module
from lesionlens.attribution.perturbation import superpixels
from lesionlens.attribution.pixels import CELLS
from lesionlens.attribution.registry import METHODS
from lesionlens.config.evaluation import Method
from tests.unit.attribution.test_registry import PIXELS

SIDE = 2 * CELLS
CLASSES = np.array([1, 0])


class Linear(nn.Module):
    """Scores linear in the pixels, all channels alike in what they say of each: weight [classes, s, s]."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        weight = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
        self.weight, self.channels = nn.Parameter(weight), channels

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nij,cij->nc", images.mean(dim=1), self.weight)


class Region(nn.Module):
    """Class 1 is the squared brightness of one corner, class 0 of the opposite one."""

    def forward(self, images: Tensor) -> Tensor:
        half = SIDE // 2
        corners = images[:, :, half:, half:], images[:, :, :half, :half]
        return torch.stack([(corner**2).sum(dim=(1, 2, 3)) for corner in corners], dim=1)


def grey(seed: int = 1, channels: int = 3) -> Tensor:
    """Two images, their channels copies of one grey value."""
    found = torch.randn(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return found.expand(2, channels, SIDE, SIDE)


def maps(method: Method, model: nn.Module, images: Tensor, references: Tensor | None = None) -> np.ndarray:
    return METHODS[method].maps(model, images, CLASSES, model, "logit", references)


def cells(values: Tensor) -> np.ndarray:
    """Means over cells of [n, s, s]."""
    return avg_pool2d(values[:, None], 2)[:, 0].numpy()


def of_classes(model: Linear) -> Tensor:
    return model.weight.detach()[CLASSES]


@pytest.mark.parametrize("method", ["saliency", "smooth_grad"])
def test_the_gradient_of_a_linear_network_is_its_weights(method: Method) -> None:
    model = Linear()
    expected = avg_pool2d(model.weight.detach()[CLASSES].abs()[:, None], 2)[:, 0]
    np.testing.assert_allclose(maps(method, model, grey()), expected, rtol=1e-4)


def test_integrated_gradients_of_a_linear_network_are_weights_times_values() -> None:
    model, images = Linear(), grey()
    expected = avg_pool2d((model.weight.detach()[CLASSES] * images[:, 0])[:, None], 2)[:, 0]
    np.testing.assert_allclose(maps("integrated_gradients", model, images), expected, rtol=1e-3, atol=1e-5)


def test_integrated_gradients_sum_to_the_score_above_that_of_the_baseline() -> None:
    model, images = Region(), grey()
    with torch.no_grad():
        scores, base = model(images), model(torch.zeros_like(images))
    expected = (scores - base)[range(2), CLASSES]
    whole = maps("integrated_gradients", model, images).sum(axis=(1, 2)) * (SIDE // CELLS) ** 2
    np.testing.assert_allclose(whole, expected, rtol=1e-2)


@pytest.mark.parametrize("method", PIXELS)
def test_three_channels_of_one_grey_are_explained_as_the_one(method: Method) -> None:
    one, three = Linear(1), Linear(3)
    np.testing.assert_allclose(maps(method, one, grey(channels=1)), maps(method, three, grey()), rtol=1e-3, atol=1e-5)


def test_gradient_shap_of_a_linear_network_is_weights_times_what_differs_from_the_references(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SHAP", 0.0)
    model, images = Linear(), grey()
    other = torch.randn(3, 1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    expected = cells(of_classes(model) * (images[:, 0] - other[CLASSES, 0, 0]))
    found = maps("gradient_shap", model, images, other.expand(3, 8, 1, SIDE, SIDE))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_gradient_shap_sums_to_the_score_above_the_mean_of_the_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHAP", 0.0)
    monkeypatch.setattr(module, "POINTS", 4000)
    model, images = Region(), grey()
    others = 0.5 * torch.randn(2, 4, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        scores = model(images)[range(2), CLASSES]
        base = torch.stack([model(others[label].expand(-1, 3, -1, -1))[:, label].mean() for label in CLASSES])
    whole = maps("gradient_shap", model, images, others).sum(axis=(1, 2)) * (SIDE // CELLS) ** 2
    np.testing.assert_allclose(whole, scores - base, rtol=0.03)


@pytest.mark.parametrize(("method", "tolerance"), [("kernel_shap", 1e-3), ("lime", 2e-2)])
def test_a_linear_network_owes_a_superpixel_the_sum_of_its_weights_times_values(
    method: Method, tolerance: float
) -> None:
    model, images = Linear(), grey()
    expected = torch.zeros(2, SIDE, SIDE)
    for row, product in enumerate(of_classes(model) * images[:, 0]):
        segments = superpixels(images[row : row + 1, :1])[0, 0]
        for segment in segments.unique():
            expected[row][segments == segment] = product[segments == segment].sum()
    scale = float(expected.abs().max())
    np.testing.assert_allclose(maps(method, model, images), cells(expected), atol=tolerance * scale)


def test_kernel_shap_sums_over_superpixels_to_the_score_above_that_of_the_baseline() -> None:
    model, images = Corners(), grey()
    for row, label in enumerate(CLASSES):
        image = images[row : row + 1, :1]
        found = perturbation.kernel_shap(lambda g: model(g.expand(-1, 3, -1, -1)), image, torch.tensor([label]))
        segments = superpixels(image)
        total = sum(float(found[segments == segment].mean()) for segment in segments.unique())
        expected = (model(images[row : row + 1]) - model(torch.zeros_like(images[:1])))[0, label]
        assert total == pytest.approx(float(expected), rel=1e-2)


class Corners(nn.Module):
    """The product of the mean squares of two corners: no sum of what superpixels say alone."""

    def forward(self, images: Tensor) -> Tensor:
        scores = Region()(images) / SIDE**2
        return torch.stack([scores.prod(dim=1), scores[:, 1] ** 2], dim=1)


def test_occlusion_of_a_linear_network_is_the_mean_over_windows_of_their_weights_times_values() -> None:
    model, images = Linear(), grey()
    window, stride = SIDE // 8, SIDE // 16
    total, count = torch.zeros(2, SIDE, SIDE), torch.zeros(SIDE, SIDE)
    product = of_classes(model) * images[:, 0]
    steps = -(-(SIDE - window) // stride) + 1  # the last window may leave the image
    for y in range(0, steps * stride, stride):
        for x in range(0, steps * stride, stride):
            place = (slice(y, y + window), slice(x, x + window))
            total[(slice(None), *place)] += product[(slice(None), *place)].sum(dim=(1, 2))[:, None, None]
            count[place] += 1
    np.testing.assert_allclose(maps("occlusion", model, images), cells(total / count), atol=1e-3)


def by_captum(method: Method, model: nn.Module, image: Tensor, label: int) -> Tensor:
    """As its tutorials call it: one image, one class, all from one seed."""
    seed = zlib.crc32(image.numpy().tobytes())
    torch.manual_seed(seed)
    np.random.seed(seed)
    reach = float(image.max() - image.min())
    mask, close = superpixels(image), perturbation.get_exp_kernel_similarity_function("cosine", kernel_width=0.25)
    few = {"feature_mask": mask, "n_samples": 256, "perturbations_per_eval": 64}
    ridge = perturbation.SkLearnRidge(alpha=0.001)
    ways = {
        "saliency": lambda: Saliency(model).attribute(image.requires_grad_(), target=label, abs=True),
        "smooth_grad": lambda: (
            NoiseTunnel(Saliency(model))
            .attribute(image, target=label, abs=False, nt_type="smoothgrad", nt_samples=16, stdevs=0.1 * reach)
            .abs()
        ),
        "integrated_gradients": lambda: IntegratedGradients(model).attribute(image, target=label, n_steps=32),
        "kernel_shap": lambda: KernelShap(model).attribute(image, target=label, **few),
        "lime": lambda: Lime(model, ridge, close).attribute(image, target=label, **few),
        "occlusion": lambda: Occlusion(model).attribute(image, (1, 7, 7), (1, 3, 3), target=label),
    }
    return ways[method]()


@pytest.mark.parametrize("method", [method for method in PIXELS if method != "gradient_shap"])
def test_captum_gives_the_same_image_by_image_with_the_same_seed(method: Method) -> None:
    """A network of one channel by captum, of three by lesionlens; the generators of others are left as they were."""
    model, images = Corners(), grey()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    found = maps(method, model, images)
    assert torch.equal(torch.get_rng_state(), before[0]) and np.random.get_state()[1].tolist() == before[1]
    for row, label in enumerate(CLASSES):
        image = images[row : row + 1, :1].clone()
        expected = by_captum(method, lambda one: model(one.expand(-1, 3, -1, -1)), image, int(label))
        np.testing.assert_allclose(found[row], cells(expected[:, 0].detach())[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("method", ["smooth_grad", "integrated_gradients", "gradient_shap"])
def test_copies_of_a_large_sample_go_through_few_at_a_time(method: Method) -> None:
    """Of a film of 1152 x 896, 32 at once would be tens of GB."""
    sizes: list[int] = []

    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            sizes.append(len(images))
            return images.mean(dim=(1, 2, 3))[:, None] * torch.tensor([1.0, -1.0])

    model, film = Mean(), torch.randn(1, 1, 672, 448).expand(1, 3, 672, 448)
    found = METHODS[method].maps(model, film, np.array([0]), model, "logit")
    assert np.isfinite(found).all() and max(sizes) <= 5 and sum(sizes) >= 16


@pytest.mark.parametrize("count", [1, 3, 8])
def test_gradient_shap_is_what_captum_gives_in_expectation(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many points as of captum's many draws; and of as few as are taken it lies nearer to these than captum's 50."""
    model, images = Corners(), grey()
    others = torch.randn(2, count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))

    def by_package(row: int, draws: int) -> np.ndarray:
        method, image = GradientShap(lambda one: model(one.expand(-1, 3, -1, -1))), images[row : row + 1, :1].clone()
        noise, label = 0.05 * float(image.max() - image.min()), int(CLASSES[row])
        drawn = method.attribute(image, others[label], n_samples=draws, stdevs=noise, target=label)
        return cells(drawn[:, 0].detach())[0]

    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    few = maps("gradient_shap", model, images, others)
    assert torch.equal(torch.get_rng_state(), before[0]) and np.random.get_state()[1].tolist() == before[1]
    monkeypatch.setattr(module, "POINTS", 2000)
    many = maps("gradient_shap", model, images, others)
    for row in range(2):
        assert np.linalg.norm(by_package(row, 2000) - many[row]) < 0.1 * np.linalg.norm(many[row])
        fifty = np.mean([np.abs(by_package(row, 50) - many[row]).mean() for _ in range(5)])
        assert np.abs(few[row] - many[row]).mean() < fifty


@pytest.mark.parametrize("method", ["kernel_shap", "lime", "occlusion"])
def test_classes_of_one_image_share_its_passes(method: Method) -> None:
    model, images = Corners(), grey()[:1].expand(2, 3, SIDE, SIDE)
    passes: list[int] = []
    model.register_forward_hook(lambda _module, inputs, _output: passes.append(len(inputs[0])))
    together, once = maps(method, model, images), len(passes)
    for row, label in enumerate(CLASSES):
        alone = METHODS[method].maps(model, images[:1], np.array([label]), model, "logit")
        np.testing.assert_array_equal(together[row], alone[0])
    assert len(passes) == 3 * once


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_there_are_about_fifty_superpixels_in_any_range_of_grey(noise: float) -> None:
    """Noise and flat images, too: with one superpixel alone there is nothing to regress on."""
    image = noise * grey()[:1, :1] + torch.linspace(0, 1, SIDE)
    found = superpixels(image)
    assert 25 <= len(found.unique()) <= 75 and found.min() == 0 and found.max() + 1 == len(found.unique())
    np.testing.assert_array_equal(superpixels(7 * image - 3), found)


@pytest.mark.parametrize("method", ["kernel_shap", "lime"])
def test_an_image_of_one_grey_is_explained_all_the_same(method: Method) -> None:
    assert np.isfinite(maps(method, Linear(), torch.ones(2, 3, SIDE, SIDE))).all()
